"""Padding of 3D convolutions: what nn.Conv3d accepts, as explicit amounts per side."""

from collections.abc import Sequence
from operator import index
from typing import SupportsIndex

from torch import Tensor
from torch.nn import functional as F

Triple = tuple[int, int, int]
Sides = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def triple(value: int | Sequence[int], name: str, minimum: int = 1) -> Triple:
    """An int or three ints (time, height, width) as a tuple; ValueError for anything else."""
    values = value if isinstance(value, Sequence) else (value,) * 3
    if len(values) != 3 or not all(isinstance(v, SupportsIndex) for v in values):
        raise ValueError(
            f"{name} must be an int or three ints (time, height, width), not {value!r}"
        )
    t, h, w = (index(v) for v in values)
    if min(t, h, w) < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value!r}")
    return (t, h, w)


def pad_sides(padding: str | Triple, kernel_size: Triple, dilation: Triple) -> Sides:
    """(before, after) for time, height and width; "same" puts an odd one after, as PyTorch does."""
    if isinstance(padding, tuple):
        t, h, w = padding
        return ((t, t), (h, h), (w, w))
    if padding == "valid":
        return ((0, 0), (0, 0), (0, 0))
    total = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
    time, height, width = ((n // 2, n - n // 2) for n in total)
    return (time, height, width)


def pad_input(x_BCTHW: Tensor, sides: Sides, mode: str) -> tuple[Tensor, Triple]:
    """Pads what a convolution cannot pad itself.

    Returns the (possibly padded) input and the symmetric zero padding left for the convolution.
    """
    if mode == "zeros" and all(before == after for before, after in sides):
        return x_BCTHW, (sides[0][0], sides[1][0], sides[2][0])
    (t0, t1), (h0, h1), (w0, w1) = sides
    padded = F.pad(x_BCTHW, (w0, w1, h0, h1, t0, t1), mode="constant" if mode == "zeros" else mode)
    return padded, (0, 0, 0)


def extent(kernel_size: Triple, dilation: Triple) -> Triple:
    """Distance between a filter's first and last tap, d·(k − 1) per axis."""
    t, h, w = (d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True))
    return (t, h, w)


def padding_for_extent(padding: str | Triple, old: Triple, new: Triple) -> str | Triple:
    """The padding that keeps every output size, at every stride, when a filter's extent changes.

    ``padding + (new - old) / 2`` per axis. "same" stays "same"; "valid" counts as 0.

    Raises:
        ValueError: if that is not a whole number or is negative.
    """
    if padding == "same":
        return padding
    amounts = (0, 0, 0) if isinstance(padding, str) else padding
    result = []
    for p, e, e_new in zip(amounts, old, new, strict=True):
        half, odd = divmod(e_new - e, 2)
        if odd or p + half < 0:
            raise ValueError(
                f"no whole padding keeps the output size: padding {p} at a filter extent of "
                f"{e + 1} would become {p + (e_new - e) / 2:g} at {e_new + 1}"
            )
        result.append(p + half)
    if old == new:
        return padding
    return (result[0], result[1], result[2])
