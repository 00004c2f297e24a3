"""Saved tensors in 8 bits a value."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from stdcf.layers.layout import is_dense
from stdcf.memory.savers.bounded import BoundedOperators
from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.saver import Saver

# Values that share a scale, the first number that divides a tensor's.
BLOCKS = (256, 128, 64, 32)
# Smaller tensors are not worth the work.
MIN_VALUES = 2**14
_LEVELS = 255


@dataclass(eq=False)
class _Quantised:
    """Values in memory order: low + level · scale, one pair a block."""

    levels_NK: Tensor  # noqa: N815
    low_N1: Tensor  # noqa: N815
    scale_N1: Tensor  # noqa: N815
    like: tuple[torch.Size, tuple[int, ...], torch.dtype]
    is_off: ClassVar[bool] = True

    def unpack(self) -> Tensor:
        size, stride, dtype = self.like
        values = torch.empty_strided(size, stride, dtype=dtype, device=self.levels_NK.device)
        flat_NK = _in_blocks(values, self.levels_NK.shape[1])
        for part in _parts(flat_NK):
            real_NK = self.levels_NK[part] * self.scale_N1[part]
            flat_NK[part] = real_NK.add_(self.low_N1[part])
        return values


class Int8(Saver):
    """Keeps floating-point tensors that are saved for backward in 8 bits, scaled by block.

    A block is 256 values that lie side by side (fewer where that does not divide their number). A
    value is off by at most its block's range / 255: half a step of rounding, except that what is
    above the least value never becomes the least value, so that ReLU's zeros and positives stay
    what they are. Forward is untouched; only gradients see the error. What checkpoint or recompute
    start again from stays exact, and so do tensors that hold a value that is not finite (a mask of
    -inf), and what operators save whose gradient such an error could make inf, NaN or arbitrary
    (`bounded`: division, logarithms, roots, attention, functions of a user's own).
    """

    name = "int8"
    gradients = "of saved values that are off by up to 1/255 of their block's range"
    costs = "quantising and back"

    @contextmanager
    def forward(self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing) -> Iterator[None]:
        operators = BoundedOperators(model)

        def pack(tensor: Tensor) -> _Quantised | None:
            # An error in what others are computed from would grow with every layer.
            exact = packing.is_source(tensor) or not operators.takes(tensor)
            return None if exact else quantise(tensor)

        packing.packers.append(pack)
        packing.bears_off = operators.takes
        with operators.watching():
            yield


def quantise(tensor: Tensor) -> _Quantised | None:
    """A tensor in 8 bits; None unless it is dense, floating-point, all finite and of some size."""
    n = tensor.numel()
    block = next((size for size in BLOCKS if n % size == 0), None)
    if block is None or n < MIN_VALUES or not tensor.is_floating_point() or not is_dense(tensor):
        return None
    exact = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    flat_NK = _in_blocks(tensor, block)
    low_N1 = flat_NK.amin(1, keepdim=True).to(exact)
    span_N1 = flat_NK.amax(1, keepdim=True) - low_N1
    # A prediction has no values to look at.
    if not isinstance(tensor, FakeTensor) and not math.isfinite(span_N1.amax()):
        return None
    # Of a block of equal values every difference is 0, whatever the scale.
    scale_N1 = span_N1.div_(_LEVELS).clamp_min_(torch.finfo(exact).tiny)
    levels_NK = torch.empty(flat_NK.shape, dtype=torch.uint8, device=tensor.device)
    for part in _parts(flat_NK):
        above_NK = flat_NK[part] - low_N1[part]
        is_above_NK = above_NK > 0
        steps_NK = above_NK.div_(scale_N1[part]).round_()
        levels_NK[part] = torch.maximum(steps_NK, is_above_NK)
    return _Quantised(levels_NK, low_N1, scale_N1, (tensor.shape, tensor.stride(), tensor.dtype))


def _in_blocks(tensor: Tensor, block: int) -> Tensor:
    """A view in memory order, [N, block]."""
    return tensor.as_strided((tensor.numel() // block, block), (block, 1))


def _parts(flat_NK: Tensor) -> list[slice]:
    """At most four, so that what stands between float and byte stays small."""
    n, block = flat_NK.shape
    size = max(-(-n // 4), 2**20 // block)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
