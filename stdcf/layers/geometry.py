"""The sizes of one convolution with zero padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from torch import Tensor


def output_size(
    input_size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, int, int]:
    """T', H', W' of a convolution; below 1 where the filter does not fit."""
    axes = zip(input_size, kernel_size, stride, padding, dilation, strict=True)
    t, h, w = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
    return t, h, w


@dataclass(frozen=True)
class Geometry:
    """The sizes of one convolution with zero padding; triples are time, height, width.

    Attributes:
        input_shape: [B, C_in, T, H, W].
        padding: may be negative, as a gradient's is.
        num_spatial_atoms, num_temporal_atoms: M and N.
    """

    input_shape: Sequence[int]
    out_channels: int
    kernel_size: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int
    num_spatial_atoms: int
    num_temporal_atoms: int

    @classmethod
    def of(
        cls,
        x: Tensor,
        coefficients: Tensor,
        spatial: Tensor,
        temporal: Tensor,
        options: tuple[Sequence[int], Sequence[int], Sequence[int], int],
        **own: Any,
    ) -> Self:
        """Of an operator's arguments; options are stride, padding, dilation and groups."""
        m, k_h, k_w = spatial.shape
        n, k_t = temporal.shape
        out_channels = coefficients.shape[0]
        return cls(x.shape, out_channels, (k_t, k_h, k_w), *options, m, n, **own)

    @cached_property
    def output_size(self) -> tuple[int, int, int]:
        """T', H', W'."""
        axes = (self.kernel_size, self.stride, self.padding, self.dilation)
        return output_size(self.input_shape[2:], *axes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """[B, C_out, T', H', W']."""
        return (self.input_shape[0], self.out_channels, *self.output_size)

    @property
    def group_in(self) -> int:
        """C_in/groups."""
        return self.input_shape[1] // self.groups

    @property
    def group_out(self) -> int:
        """C_out/groups."""
        return self.out_channels // self.groups

    @property
    def pairs(self) -> int:
        """M·N."""
        return self.num_spatial_atoms * self.num_temporal_atoms

    @property
    def frame_positions(self) -> int:
        """Output positions of one frame, of all clips."""
        return self.input_shape[0] * self.output_size[1] * self.output_size[2]
