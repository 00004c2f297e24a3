"""Whether a convolution is what its arguments say: no more, and nothing else."""

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


def padded_by_parent(parent: nn.Module, child: nn.Module) -> str | None:
    """Why what a module gives its child may be padded already; None if nothing says so.

    A padding layer before the child in a row, or a name with "pad" in it that the parent's forward
    reads.
    """
    if type(parent).forward is not nn.Sequential.forward:
        return f"{type(parent).__name__}.forward pads" if _reads_pad(parent) else None
    before: nn.Module | None = None
    for module in parent.children():
        if module is child and before is not None and _is_padding(before):
            return f"{type(before).__name__} pads its input"
        before = module
    return None


def _is_padding(module: nn.Module) -> bool:
    kind = type(module)
    if kind.__module__ == "torch.nn.modules.padding":
        return True
    is_bare = not [*module.parameters(), *module.children()]
    return is_bare and not kind.__module__.startswith("torch.nn") and _reads_pad(module)


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
