"""Whether a convolution is what its arguments say: no more, and nothing else."""

import dis
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from stdcf.layers.padding import Triple, pad_sides

# They compute a weight before forward, and leave the input as it is.
_WEIGHT_HOOKS = ("torch.nn.utils.spectral_norm", "torch.nn.utils.weight_norm")
_PRUNING = "torch.nn.utils.prune"


def other_forward(conv: nn.Conv3d) -> str | None:
    """Why an nn.Conv3d may compute something else than its arguments say; None if it does not.

    Its weight may be anything.
    """
    kind = type(conv)
    names = ("forward", "_conv_forward", "__call__")
    if any(getattr(kind, n) is not getattr(nn.Conv3d, n) or n in conv.__dict__ for n in names):
        return f"{kind.__name__} has a forward of its own"
    if conv.padding_mode != "zeros":
        kernel_size: Triple = tuple(conv.kernel_size)  # type: ignore[assignment]
        dilation: Triple = tuple(conv.dilation)  # type: ignore[assignment]
        sides = pad_sides(conv.padding, kernel_size, dilation)  # type: ignore[arg-type]
        expected = [amount for side in reversed(sides) for amount in side]
        if list(conv._reversed_padding_repeated_twice) != expected:
            return f"{kind.__name__} pads in a way of its own"
    hooks = (*conv._forward_pre_hooks.values(), *conv._forward_hooks.values())
    if any(not _makes_weight(hook) for hook in hooks):
        return "it has hooks"
    return None


def _makes_weight(hook: Any) -> bool:
    module = type(hook).__module__
    return module in _WEIGHT_HOOKS or module == _PRUNING


def other_filter(layer: nn.Module, filters: tuple[str, ...], tied: set[int]) -> str | None:
    """Why a layer's filter is not a parameter that can be replaced; None if it is.

    Args:
        filters: names of the parameters that make it, without "bias".
        tied: ids of parameters that other modules have as well.
    """
    if parametrize.is_parametrized(layer) or any(n not in layer._parameters for n in filters):
        return "its filter is computed from others"
    parameters = {name: p for name, p in layer._parameters.items() if p is not None}
    if any(is_lazy(p) for p in parameters.values()):
        return "it has no size yet"
    more = {*parameters} - {*filters, "bias"}
    if more or any(True for _ in layer.buffers()) or any(True for _ in layer.children()):
        return "it holds more than a filter and a bias"
    if any(id(p) in tied for p in parameters.values()):
        return "another module has the same parameter"
    if _has_hooks(layer) or any(_tensor_has_hooks(p) for p in parameters.values()):
        return "it has hooks"
    if not all(p.is_floating_point() or p.is_complex() for p in parameters.values()):
        return f"its filter is {parameters[filters[0]].dtype}"
    return None


def _has_hooks(module: nn.Module) -> bool:
    names = ("forward_pre", "forward", "backward_pre", "backward", "state_dict", "state_dict_pre")
    loads = ("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")
    return any(getattr(module, n, None) for n in (*(f"_{n}_hooks" for n in names), *loads))


def _tensor_has_hooks(tensor: Tensor) -> bool:
    return bool(tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None))


def tied_parameters(model: nn.Module) -> set[int]:
    """Ids of the parameters that several modules have, or one under several names."""
    seen: set[int] = set()
    tied: set[int] = set()
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                (tied if id(parameter) in seen else seen).add(id(parameter))
    return tied


def padded_elsewhere(parents: list[nn.Module], child: nn.Module) -> str | None:
    """Why what a module gets may be padded already, or what it gives be cut; None: nothing says so.

    A padding layer before the child, with at most activations, norms and the like between; a parent
    whose forward reads a name with "pad" in it; or, of a convolution without the padding that keeps
    its size, one that puts frames together or cuts them.

    Args:
        parents: of the child, the outermost first.
    """
    alters = _alters_size(child)
    for parent, inner in zip(reversed(parents), [child, *reversed(parents)], strict=False):
        if type(parent).forward is nn.Sequential.forward:
            reason, is_first = _padded_in_row(parent, inner, alters)
            if reason is not None or not is_first:
                return reason
        elif _reads_pad(parent):
            return f"{type(parent).__name__}.forward pads"
        elif alters and (word := _puts_together(parent)):
            return (
                f"it does not keep its size by itself, and {type(parent).__name__}.forward {word}"
            )
        elif not isinstance(parent, nn.ModuleList | nn.ModuleDict):
            return None
    return None


def _padded_in_row(row: nn.Module, child: nn.Module, alters: bool) -> tuple[str | None, bool]:
    """The reason in an nn.Sequential, and whether nothing but what keeps sizes is before."""
    modules = list(row.children())
    place = next((i for i, module in enumerate(modules) if module is child), 0)
    for after in modules[place + 1 : place + 2] if alters else ():
        if _is_bare(after) and _puts_together(after):
            return f"it does not keep its size by itself, and {type(after).__name__} cuts", False
    for before in reversed(modules[:place]):
        last = _last(before)
        if _is_padding(last):
            return f"{type(last).__name__} pads its input", False
        if not isinstance(last, _KEEPS_SIZE):
            return None, False
    return None, True


def _last(module: nn.Module) -> nn.Module:
    """The last layer of nested rows."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return module


_KEEPS_SIZE = (
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Sigmoid,
    nn.Tanh,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.dropout._DropoutNd,
)


def _alters_size(conv: nn.Module) -> bool:
    """Whether a convolution's own padding is not the one that keeps the number of frames."""
    padding = getattr(conv, "padding", "same")
    if isinstance(padding, str):
        return padding == "valid"
    kernel_size, dilation = getattr(conv, "kernel_size", None), getattr(conv, "dilation", None)
    if not all(isinstance(x, tuple) and len(x) == 3 for x in (padding, kernel_size, dilation)):
        return False
    assert isinstance(kernel_size, tuple)
    assert isinstance(dilation, tuple)
    return bool(2 * padding[0] != dilation[0] * (kernel_size[0] - 1))


def _puts_together(module: nn.Module) -> str | None:
    """What a module's own forward does to frames: puts them together, or cuts them."""
    code = getattr(type(module).forward, "__code__", None)
    if type(module).__module__.startswith("torch.nn") or not isinstance(code, CodeType):
        return None
    if _names(code) & {"cat", "concat", "concatenate", "hstack"}:
        return "puts tensors together"
    if _names(code) & {"narrow", "split", "chunk"} or _slices(code):
        return "cuts tensors"
    return None


def _slices(code: CodeType) -> bool:
    """Whether a slice is made: by its own instruction, or as a constant."""
    made = {"BUILD_SLICE", "BINARY_SLICE"}
    return any(i.opname in made or isinstance(i.argval, slice) for i in dis.get_instructions(code))


def _is_bare(module: nn.Module) -> bool:
    return not [*module.parameters(), *module.children()]


def _is_padding(module: nn.Module) -> bool:
    kind = type(module)
    if kind.__module__ == "torch.nn.modules.padding":
        return True
    return _is_bare(module) and not kind.__module__.startswith("torch.nn") and _reads_pad(module)


def _reads_pad(module: nn.Module) -> bool:
    code = getattr(type(module).forward, "__code__", None)
    return isinstance(code, CodeType) and any("pad" in name.lower() for name in _names(code))


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def is_complex(layer: nn.Module) -> bool:
    """Whether a parameter of it is complex."""
    return any(torch.is_complex(parameter) for parameter in layer.parameters())


def tensors_of(model: nn.Module) -> list[Tensor]:
    """Parameters, buffers and tensors that are plain attributes, such as a computed weight."""
    plain = (v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor))
    return [*model.parameters(), *model.buffers(), *plain]
