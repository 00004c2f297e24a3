"""Launches the kernels: sizes, strides, scratch memory and grids."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from typing import Any

import torch
from torch import Tensor

from stdcf.layers.cuda.configs import Config, card, choose
from stdcf.layers.geometry import Geometry
from stdcf.layers.layout import is_channels_last

# α's gradient is summed in parts, as many as keep a card busy, if they take no more memory than
# these bytes, or than the input.
_PROGRAMS = 1024
_PARTIAL_BYTES = 2**22
# Taps of a row that are unrolled together, at the most.
_UNROLLED = 3


def scratch_bytes(
    x_BCTHW: Tensor,
    filters: tuple[int, int],
    spatial_shape: tuple[int, ...],
    temporal_shape: tuple[int, ...],
    options: tuple[Sequence[int], Sequence[int], Sequence[int], int],
) -> int:
    """What a step takes at once beside x, the output and all gradients; x may be on "meta".

    Args:
        filters: C_out and C_in/groups.
        options: stride, padding, dilation, groups.
    """
    spatial, temporal = (
        x_BCTHW.new_empty(s, device="meta") for s in (spatial_shape, temporal_shape)
    )
    pairs = spatial_shape[0] * temporal_shape[0]
    coefficients = x_BCTHW.new_empty(*filters, pairs, device="meta")
    g = Geometry.of(x_BCTHW, coefficients, spatial, temporal, options)
    filter_elements, mixing = (
        coefficients.numel() // pairs * math.prod(g.kernel_size),
        coefficients.numel(),
    )
    parts, _ = mixing_parts(g, x_BCTHW)
    sums = (parts + 1) * mixing + sum(map(math.prod, atom_sums(g, x_BCTHW)))
    of_parameters = mixing * x_BCTHW.element_size() + 4 * sums
    # At a stride the composed filter, for the input's gradient, before α's gradient is there.
    of_input = (filter_elements - mixing) * x_BCTHW.element_size()
    return of_parameters if all(s == 1 for s in g.stride) else max(of_parameters, of_input)


def packed(coefficients: Tensor, g: Geometry) -> Tensor:
    """Memory for α as the kernels read it, [M·N, groups, C_in/groups, C_out/groups]."""
    return coefficients.new_empty(g.pairs, g.groups, g.group_in, g.group_out)


def pack(coefficients: Tensor, g: Geometry, to: Tensor) -> Tensor:
    """Fills `packed`."""
    by_group = coefficients.unflatten(0, (g.groups, g.group_out))
    return to.copy_(by_group.permute(3, 0, 2, 1))


def config_of(name: str, g: Geometry, x: Tensor) -> Config:
    """The kernel's configuration on x's device."""
    return choose(name, card(x.device), precision(x), g)


def _tiles(g: Geometry, config: Config) -> int:
    """Tiles of positions of all frames."""
    rows = -(-g.output_size[0] // config.frames)
    return -(-g.frame_positions // config.positions) * rows


def convolve(
    g: Geometry,
    x: Tensor,
    mixing: Tensor,
    atoms: tuple[Tensor, Tensor],
    bias: Tensor | None,
    out: Tensor,
) -> None:
    """Writes the convolution of x into `out`.

    Args:
        mixing: α from `pack`.
        atoms: ψ and φ, contiguous.
    """
    from stdcf.layers.cuda import kernels

    if 0 in out.shape:
        return
    config = config_of("convolve", g, x)
    grid = (_tiles(g, config) * -(-g.group_out // config.outputs), g.groups)
    with _on(x.device):
        kernels.convolve[grid](
            x,
            mixing,
            *atoms,
            bias,
            out,
            *_sizes(g, x, out),
            **_constants(g, x, config),
            HAS_BIAS=bias is not None,
            M_STEP=config.m_step,
        )


def mixing_parts(g: Geometry, x: Tensor) -> tuple[int, int]:
    """In how many parts α's gradient is summed, and the tiles of each."""
    config = config_of("grad_mixing", g, x)
    # Not by min and max: a compiled graph's sizes may be symbols.
    tiles: Any = torch.sym_max(_tiles(g, config), 1)
    part_bytes = 4 * g.pairs * g.groups * g.group_in * g.group_out
    most: Any = torch.sym_max(_PARTIAL_BYTES, x.numel() * x.element_size()) // part_bytes
    wanted = -(-_PROGRAMS // (_mixing_blocks(g, config) * g.groups))
    number: Any = torch.sym_max(torch.sym_min(most, torch.sym_min(wanted, tiles)), 1)
    each = -(-tiles // number)
    return -(-tiles // each), each


def _mixing_blocks(g: Geometry, config: Config) -> int:
    blocks = -(-g.group_in // config.inputs) * -(-g.group_out // config.outputs)
    steps = -(-g.num_spatial_atoms // config.m_step) * -(-g.num_temporal_atoms // config.n_step)
    return blocks * steps


def grad_mixing(
    g: Geometry, x: Tensor, grad: Tensor, atoms: tuple[Tensor, Tensor], sums: Tensor
) -> None:
    """Writes the parts of α's gradient.

    Args:
        sums: float32 [parts, M·N, groups, C_in/groups, C_out/groups].
    """
    from stdcf.layers.cuda import kernels

    config = config_of("grad_mixing", g, x)
    parts, each = mixing_parts(g, x)
    with _on(x.device):
        kernels.grad_mixing[(_mixing_blocks(g, config), g.groups, parts)](
            x,
            grad,
            *atoms,
            sums,
            *_sizes(g, x, grad),
            each,
            **_constants(g, x, config),
            M_STEP=config.m_step,
        )


def atom_sums(g: Geometry, x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the tiles' shares of ψ's and φ's gradients: [M, steps of N, tiles, kH·kW] and

    [M, N, kT, tiles].
    """
    config = config_of("grad_atoms", g, x)
    k_t, k_h, k_w = g.kernel_size
    tiles = _tiles(g, config) * -(-g.group_in // config.inputs) * g.groups
    m, n = g.num_spatial_atoms, g.num_temporal_atoms
    return (m, -(-n // config.n_step), tiles, k_h * k_w), (m, n, k_t, tiles)


def grad_atoms(
    g: Geometry,
    x: Tensor,
    grad: Tensor,
    mixing: Tensor,
    atoms: tuple[Tensor, Tensor],
    spatial_sums: Tensor,
    temporal_sums: Tensor,
) -> None:
    """Writes the tiles' shares of ψ's and φ's gradients, float32, of the shapes of `atom_sums`."""
    from stdcf.layers.cuda import kernels

    if not spatial_sums.numel():
        return
    config = config_of("grad_atoms", g, x)
    grid = (
        _tiles(g, config) * -(-g.group_in // config.inputs),
        g.groups,
        g.num_spatial_atoms * spatial_sums.shape[1],
    )
    with _on(x.device):
        kernels.grad_atoms[grid](
            x,
            grad,
            mixing,
            *atoms,
            spatial_sums,
            temporal_sums,
            *_sizes(g, x, grad),
            **_constants(g, x, config),
        )


def _sizes(g: Geometry, x: Tensor, y: Tensor) -> tuple[int, ...]:
    """The kernels' run-time sizes, in their order."""
    return (
        *x.stride(),
        *y.stride(),
        *g.input_shape[2:],
        *g.output_size,
        g.frame_positions,
        g.group_in,
        g.group_out,
        *g.padding,
    )


def _constants(g: Geometry, x: Tensor, config: Config) -> dict[str, Any]:
    """What a kernel is compiled for."""
    names = [f"{kind}_{axis}" for kind in "KSD" for axis in "THW"]
    values = (*g.kernel_size, *g.stride, *g.dilation)
    return {
        **dict(zip(names, values, strict=True)),
        "M": g.num_spatial_atoms,
        "N": g.num_temporal_atoms,
        "LAST": is_channels_last(x),
        "PRECISION": precision(x),
        "P": config.positions,
        "C": config.inputs,
        "O": config.outputs,
        "FRAMES": config.frames,
        "SEEN": _seen(g, config.frames),
        "N_STEP": config.n_step,
        "UNROLL": g.kernel_size[2] if g.kernel_size[2] <= _UNROLLED else 1,
        "num_warps": config.warps,
        "num_stages": config.stages,
        **({} if config.registers is None else {"maxnreg": config.registers}),
    }


def _seen(g: Geometry, frames: int) -> int:
    """Input frames that output frames see, as bits, from the first one's first tap on."""
    steps = (range(frames), range(g.kernel_size[0]))
    return sum(1 << r for r in {t * g.stride[0] + k * g.dilation[0] for t, k in product(*steps)})


def precision(x: Tensor) -> str:
    """Triton's input_precision. float32 is multiplied as cuDNN's convolutions are told to."""
    if x.dtype != torch.float32:
        return "tf32"
    return "tf32" if card(x.device) >= 80 and _conv_precision() == "tf32" else "ieee"


def _conv_precision() -> str:
    return str(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]


def _on(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
