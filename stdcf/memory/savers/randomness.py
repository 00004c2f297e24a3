"""Whether a compiled graph draws random numbers, and whether this torch draws them right again."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import detect_fake_mode
from torch.utils._python_dispatch import TorchDispatchMode

# Into operators of others nobody can look; those of stdcf and torchvision draw nothing.
_KNOWN = frozenset({"aten", "prims", "prim", "stdcf", "torchvision", "profiler", "higher_order"})
# By 0, or False, an operator that may draw says that it does not.
_SWITCHES = frozenset({"dropout_p", "dropout", "p", "train", "training"})

Backend = Callable[[fx.GraphModule, list[Any]], Any]


class _Draws(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace not in _KNOWN or (
            torch.Tag.nondeterministic_seeded in func.tags and not _switched_off(func, args, kwargs)
        ):
            self.names.append(str(func))
        return func(*args, **kwargs)


def _switched_off(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    for index, argument in enumerate(func._schema.arguments):
        if argument.name in _SWITCHES:
            given = args[index] if index < len(args) else argument.default_value
            value = kwargs.get(argument.name, given)
            if isinstance(value, bool | int | float) and not value:
                return True
    return False


def draws(graph: fx.GraphModule, inputs: list[Any]) -> list[str]:
    """The operators of a graph that draw random numbers, or may, by running it on fake tensors.

    Args:
        inputs: fake tensors, or real ones, which are not changed.
    """
    mode = detect_fake_mode(inputs) or torch._subclasses.FakeTensorMode()
    with mode, _Draws() as seen:
        try:
            graph(*[mode.from_tensor(x) if _is_real(x) else x for x in inputs])
        except NotImplementedError:  # branches and loops (torch.cond) may draw, unseen
            seen.names.append("in a branch or loop of torch's")
    return seen.names


def _is_real(x: Any) -> bool:
    return isinstance(x, Tensor) and not isinstance(x, torch._subclasses.FakeTensor)


def _twice(x: Tensor) -> Tensor:
    y = torch.nn.functional.dropout(x.exp(), 0.5)
    return y.exp() * (torch.rand_like(y) < 0.5)


@functools.cache
def drawn_again_right(backend: str | Backend, device: str, share: float) -> bool:
    """Whether a compiled backward pass finds the numbers that forward drew; by trying.

    With y = m₁ 2 eˣ and z = m₂ eʸ the gradient of z is z·y, whatever the masks.
    """
    from torch._functorch import config

    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices), config.patch(activation_memory_budget=share):
        x = torch.linspace(-1, 0, 4096, device=device).requires_grad_()
        z = torch.compile(_twice, backend=backend)(x)
        z.sum().backward()
        y = z.detach().clamp_min(1).log()
        assert x.grad is not None
        # Where the second mask is 0 nothing is known of the first.
        return bool(torch.allclose(x.grad, z.detach() * y, rtol=1e-3, atol=1e-5))
