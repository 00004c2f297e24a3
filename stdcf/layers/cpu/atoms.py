"""Calls the CPU kernel: the maps of a tile of output rows, and their adjoint."""

import ctypes
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from stdcf.layers.cpu.library import library
from stdcf.layers.geometry import Geometry

# Channels in a block, as in atoms.cpp.
_LARGE, _SMALL = 64, 32

DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which the kernel sums, and which atoms have there."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True)
class TiledGeometry(Geometry):
    """How the kernel divides a convolution.

    Attributes:
        threads: among which a call divides itself; of 64·i channels, fewer than 64·threads, they
            change the rounding of the atoms' gradients, and otherwise no sum.
    """

    threads: int

    @property
    def maps_per_group(self) -> int:
        """M·N·C_in/groups, the depth of the matrix product."""
        return self.pairs * self.group_in

    @property
    def num_atom_sums(self) -> int:
        """Elements of ψ and φ together."""
        k_t, k_h, k_w = self.kernel_size
        return self.num_spatial_atoms * k_h * k_w + self.num_temporal_atoms * k_t

    @property
    def _large(self) -> tuple[bool, bool]:
        """Whether blocks of channels are large, of the maps and of their adjoint."""
        channels = self.group_in
        # Threads share the maps' rows, but the adjoint's channels: each needs some.
        return channels % _LARGE == 0, channels % _LARGE == 0 and channels >= _LARGE * self.threads

    @property
    def channel_blocks(self) -> int:
        """Blocks into which the adjoint divides a group's channels."""
        return -(-self.group_in // (_LARGE if self._large[1] else _SMALL))

    def window_elements(self, rows: int) -> int:
        """Elements of the padded temporal maps that so many output rows of a frame need."""
        _, height, width = self.output_size
        _, s_h, s_w = self.stride
        _, e_h, e_w = (d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True))
        tall = (min(rows, height) - 1) * s_h + e_h + 1
        return self.num_temporal_atoms * tall * ((width - 1) * s_w + e_w + 1) * _LARGE

    @cached_property
    def _packed(self) -> ctypes.Array[ctypes.c_int64]:
        values = [self.group_in, self.input_shape[1]]
        values += [self.num_spatial_atoms, self.num_temporal_atoms]
        for axis in range(3):
            values += [self.input_shape[2 + axis], self.kernel_size[axis], self.stride[axis]]
            values += [self.padding[axis], self.dilation[axis], self.output_size[axis]]
        values += [self.threads, *self._large]
        return (ctypes.c_int64 * len(values))(*values)


def make_maps(
    g: TiledGeometry,
    x_BTHWC: Tensor,
    group: int,
    atoms: tuple[Tensor, Tensor],
    maps_PK: Tensor,
    window: Tensor,
    rows: range,
) -> None:
    """Writes the maps of output rows `rows` (numbered through all clips of x) of one group.

    Args:
        x_BTHWC: contiguous.
        atoms: ψ [M, kH, kW] and φ [N, kT], contiguous, of `sum_dtype`.
        maps_PK: [positions, M·N·C_in/groups], channel (i·N + j)·C + c.
        window: scratch of `sum_dtype`, `window_elements` for each thread.
    """
    call = getattr(_library(), f"maps_{DTYPES[x_BTHWC.dtype]}")
    call(
        g._packed,
        _channel(x_BTHWC, group * g.group_in),
        *(_pointer(a) for a in atoms),
        _pointer(maps_PK),
        _pointer(window),
        ctypes.c_int64(window.numel() // g.threads),
        ctypes.c_int64(rows.start),
        ctypes.c_int64(rows.stop),
    )


def adjoint(
    g: TiledGeometry,
    x_BTHWC: Tensor,
    group: int,
    grad_maps_PK: Tensor,
    atoms: tuple[Tensor, Tensor],
    grad_x_BTHWC: Tensor | None,
    atom_sums: Tensor | None,
    window: Tensor,
    rows: range,
) -> None:
    """Adds to the gradients of x and of the atoms what the maps' gradients of `rows` give.

    Args:
        grad_x_BTHWC: contiguous, of `sum_dtype`; None where it is not needed.
        atom_sums: float64 [channel_blocks, num_atom_sums], of this group; None where not needed.
        window: as in `make_maps`, twice as large.
    """
    call = getattr(_library(), f"adjoint_{DTYPES[x_BTHWC.dtype]}")
    first = group * g.group_in
    call(
        g._packed,
        _channel(x_BTHWC, first),
        _pointer(grad_maps_PK),
        *(_pointer(a) for a in atoms),
        None if grad_x_BTHWC is None else _channel(grad_x_BTHWC, first),
        None if atom_sums is None else _pointer(atom_sums),
        _pointer(window),
        ctypes.c_int64(window.numel() // g.threads),
        ctypes.c_int64(rows.start),
        ctypes.c_int64(rows.stop),
    )


def transpose(from_NRC: Tensor, to_NCR: Tensor, threads: int) -> None:
    """Writes each matrix of a batch transposed; both are contiguous."""
    n, rows, columns = (ctypes.c_int64(size) for size in from_NRC.shape)
    call = getattr(_library(), f"transpose_{DTYPES[from_NRC.dtype]}")
    call(n, rows, columns, _pointer(from_NRC), _pointer(to_NCR), ctypes.c_int64(threads))


def _library() -> ctypes.CDLL:
    found = library()
    assert found is not None, "asked for a kernel that is not there"
    return found


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _channel(x_BTHWC: Tensor, channel: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(x_BTHWC.data_ptr() + channel * x_BTHWC.element_size())
