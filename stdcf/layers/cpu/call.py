"""One call of the fused convolution: sizes, layout, tiles, and its scratch memory's parts."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from stdcf.layers.cpu import atoms as kernel
from stdcf.layers.cpu.atoms import TiledGeometry, sum_dtype
from stdcf.layers.layout import is_channels_last, layout_of

# Bytes of maps that stay in the cache between the pass that makes them and the matrix product, and
# output positions below which the product would be inefficient.
_TILE_BYTES = 2**22
_TILE_POSITIONS = 256


def scratch_bytes(
    x_BCTHW: Tensor,
    filters: tuple[int, int],
    spatial_shape: tuple[int, ...],
    temporal_shape: tuple[int, ...],
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int],
) -> int:
    """What backward takes beside its inputs and gradients; x and parameters may be on "meta".

    Args:
        filters: C_out and C_in/groups.
        geometry: stride, padding, dilation, groups.
    """
    spatial, temporal = (x_BCTHW.new_empty(s) for s in (spatial_shape, temporal_shape))
    coefficients = x_BCTHW.new_empty(*filters, spatial_shape[0] * temporal_shape[0])
    return FusedCall(
        x_BCTHW, coefficients, spatial, temporal, geometry, True, True, True
    ).scratch_bytes


class FusedCall:
    """What forward and backward share: sizes, layout, and the scratch memory's parts."""

    def __init__(
        self,
        x: Tensor,
        coefficients: Tensor,
        spatial: Tensor,
        temporal: Tensor,
        geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int],
        backward: bool = False,
        grad_x: bool = False,
        grad_atoms: bool = False,
    ) -> None:
        threads = torch.get_num_threads()
        self.g = TiledGeometry.of(x, coefficients, spatial, temporal, geometry, threads=threads)
        self.x, self.dtype, self.sum_dtype = x, x.dtype, sum_dtype(x.dtype)
        self.channels_last = is_channels_last(x)
        _, height, width = self.g.output_size
        depth = max(self.g.maps_per_group, 1)
        positions = max(_TILE_BYTES // (depth * x.element_size()), _TILE_POSITIONS)
        if backward and x.dtype == torch.bfloat16:
            # Each tile's product is rounded before it is summed: fewer of them.
            positions *= 4
        # Clips that are worked on together: in the other layout each is transposed first.
        sums_apart = backward and grad_x and self.sum_dtype != x.dtype
        together = self.channels_last and not sums_apart
        self.clips = max(x.shape[0], 1) if together else 1
        rows_of_all = self.clips * self.g.output_size[0] * height
        self.rows = min(max(positions // width, 1), max(rows_of_all, 1))
        groups, group_out = self.g.groups, self.g.group_out
        clip = math.prod(x.shape[1:])
        window = self.g.window_elements(self.rows) * self.g.threads
        # Name -> number of elements and type of the parts of the scratch memory.
        self.parts: dict[str, tuple[int, torch.dtype]] = {
            "maps": (self.rows * width * depth, x.dtype),
            "mixing": (groups * depth * group_out, x.dtype),
            "window": (window * (2 if backward else 1), self.sum_dtype),
            "atoms": (self.g.num_atom_sums, self.sum_dtype),
        }
        if not self.channels_last:
            self.parts["clip"] = (clip, x.dtype)
        if backward:
            if x.dtype != self.sum_dtype:
                self.parts["grad_mixing"] = (groups * depth * group_out, self.sum_dtype)
                self.parts["product"] = (depth * group_out, x.dtype)
            if grad_x and (sums_apart or not self.channels_last):
                self.parts["grad_clip"] = (clip, self.sum_dtype)
            if grad_atoms:
                blocks = groups * self.g.channel_blocks
                self.parts["atom_sums"] = (blocks * self.g.num_atom_sums, torch.float64)

    @property
    def scratch_bytes(self) -> int:
        return sum(_padded(n * dtype.itemsize) for n, dtype in self.parts.values())

    def scratch(self) -> Tensor:
        """The scratch memory as the operator's last output."""
        return self.x.new_empty(self.scratch_bytes, dtype=torch.uint8)

    def cut(self, scratch: Tensor) -> dict[str, Tensor]:
        """The parts by name, each one-dimensional."""
        found, at = {}, 0
        for name, (n, dtype) in self.parts.items():
            found[name] = scratch[at : at + n * dtype.itemsize].view(dtype)
            at += _padded(n * dtype.itemsize)
        return found

    def output(self) -> Tensor:
        shape = (self.x.shape[0], self.g.out_channels, *self.g.output_size)
        return torch.empty(
            shape, dtype=self.dtype, device=self.x.device, memory_format=layout_of(self.x)
        )

    def atoms(self, spatial: Tensor, temporal: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """ψ and φ as the kernel reads them."""
        first, second = memory.split([spatial.numel(), temporal.numel()])
        return first.view_as(spatial).copy_(spatial), second.view_as(temporal).copy_(temporal)

    def mixing(self, coefficients: Tensor, memory: Tensor) -> Tensor:
        """α as the matrices of the groups, [groups, M·N·C_in/groups, C_out/groups]; each a view."""
        by_map = memory.view(len(coefficients), -1, coefficients.shape[1])
        kernel.transpose(coefficients.contiguous(), by_map, self.g.threads)
        return by_map.view(self.g.groups, -1, self.g.maps_per_group).transpose(1, 2)

    def batches(self) -> Iterator[range]:
        for first in range(0, self.x.shape[0], self.clips):
            yield range(first, min(first + self.clips, self.x.shape[0]))

    def tiles(self) -> Iterator[range]:
        """Output rows of a batch of clips."""
        t, h, _ = self.g.output_size
        for first in range(0, self.clips * t * h, self.rows):
            yield range(first, min(first + self.rows, self.clips * t * h))

    def clips_last(self, x: Tensor, clips: range, memory: Tensor | None) -> Tensor:
        """Some clips of x with channels last, [B, T, H, W, C]; copied where x lies otherwise."""
        if self.channels_last:
            return x[clips.start : clips.stop].permute(0, 2, 3, 4, 1)
        assert memory is not None
        clip = x[clips.start]
        moved = memory.view(clip[0].numel(), clip.shape[0])
        moved.copy_(clip.reshape(clip.shape[0], -1).t())
        return moved.view(1, *clip.shape[1:], clip.shape[0])

    def positions(self, y: Tensor, clips: range) -> Tensor:
        """Some clips of an output-like tensor as a matrix [positions, channels]; a view."""
        if self.channels_last:
            return y[clips.start : clips.stop].permute(0, 2, 3, 4, 1).flatten(0, 3)
        return y[clips.start].flatten(1).t()


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // 64) * 64
