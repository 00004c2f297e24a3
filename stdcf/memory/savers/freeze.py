"""Parameters that are not trained, and what their layers need not keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from stdcf.errors import UserError
from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.saver import Saver

# Of these the input's gradient needs the weight alone, yet autograd keeps the input.
_CONVOLUTIONS = frozenset(
    {F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
    | {torch.conv1d, torch.conv2d, torch.conv3d}
)


class Freeze(Saver):
    """Takes parameters out of training: no gradient, no optimiser's state, and no input kept by a
    convolution whose filter is frozen.

    Running statistics of a frozen normalisation are still updated. A parameter that is frozen stays
    so when training ends; it keeps `requires_grad` False.

    Args:
        pattern: of module or parameter names, as "stem" or "layer[12]*"; several with | between. A
            module's name stands for all that is in it.

    Raises:
        UserError: in training, if it fits nothing, or all parameters.
    """

    name = "freeze"
    gradients = "the same bits, none for what is frozen"

    def __init__(self, pattern: str) -> None:
        self.patterns = [text for text in pattern.split("|") if text]
        if not self.patterns:
            raise UserError("saver freeze needs a pattern of names, as freeze=stem")

    def __str__(self) -> str:
        return f"{self.name}={'|'.join(self.patterns)}"

    def prepare(self, model: nn.Module) -> None:
        named = dict(model.named_parameters())
        frozen = {
            pattern: [parameter for name, parameter in named.items() if _fits(name, pattern)]
            for pattern in self.patterns
        }
        for pattern, parameters in frozen.items():
            if not parameters:
                raise UserError(
                    f"freeze: nothing in {type(model).__name__} is called {pattern!r}; its first "
                    f"parameter is {next(iter(named), 'none')}"
                )
            for parameter in parameters:
                if parameter.requires_grad:
                    # One that stays, be it 0, would go on moving it by momentum and weight decay.
                    parameter.grad = None
                parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in named.values()):
            raise UserError(f"{self} leaves nothing of {type(model).__name__} to train")

    @contextmanager
    def forward(self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing) -> Iterator[None]:
        with _Inputs() as inputs:
            packing.packers.append(inputs.pack)
            yield


def _fits(name: str, pattern: str) -> bool:
    parts = name.removeprefix("module.").split(".")
    return any(fnmatchcase(".".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))


@dataclass(eq=False)
class _Shape:
    """A tensor of which nobody reads the values."""

    value: Tensor
    shape: torch.Size

    # Others that save the same tensor need what is in it.
    for_one: bool = True

    def unpack(self) -> Tensor:
        return self.value.expand(self.shape)


class _Inputs(TorchFunctionMode):
    """Knows the input of a convolution with a frozen filter while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self._input: Tensor | None = None

    def pack(self, tensor: Tensor) -> _Shape | None:
        own = self._input
        if own is None or tensor.data_ptr() != own.data_ptr() or tensor.shape != own.shape:
            return None
        return _Shape(tensor.new_zeros(()), tensor.shape)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _CONVOLUTIONS:
            return func(*args, **kwargs)
        given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
        trained = any(
            isinstance(given.get(name), Tensor) and given[name].requires_grad
            for name in ("weight", "bias")
        )
        weight = given.get("weight")
        # Of a filter that is a view of the input the values count.
        own = isinstance(weight, Tensor) and _storage(weight) == _storage(given["input"])
        self._input = None if trained or own else given["input"]
        try:
            return func(*args, **kwargs)
        finally:
            self._input = None


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
