"""The factored convolution on a CPU as one operator, ``torch.ops.stdcf.factored_conv3d``.

A tile of output rows at a time, the atoms' maps are made in the cache and multiplied with the
coefficients, so that no map is ever in memory as a whole. Backward makes them again: autograd keeps
the input alone. Each operator returns its scratch memory as its last output, so that whoever
follows tensors (a memory tracker, a fake tensor mode) sees it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from stdcf.layers.cpu import atoms as kernel
from stdcf.layers.cpu.call import FusedCall
from stdcf.layers.differentiate import Four, Inputs, Needs, OperatorOptions, register
from stdcf.layers.layout import layout_of


def factored_conv3d(
    x_BCTHW: Tensor,
    coefficients: Tensor,
    spatial_atoms: Tensor,
    temporal_atoms: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
) -> Tensor:
    """An STDCF convolution with zero padding, [B, C_in, T, H, W] -> [B, C_out, T', H', W'].

    The arguments are `STDCFConv3d`'s parameters and options; float32, float64 or bfloat16, the
    coefficients and the bias of x's type. Either memory layout is taken and kept.
    """
    out, _ = torch.ops.stdcf.factored_conv3d(
        x_BCTHW,
        coefficients,
        spatial_atoms,
        temporal_atoms,
        bias,
        list(stride),
        list(padding),
        list(dilation),
        groups,
    )
    return out


@torch.library.custom_op("stdcf::factored_conv3d", mutates_args=())
def _forward(
    x: Tensor,
    coefficients: Tensor,
    spatial: Tensor,
    temporal: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> tuple[Tensor, Tensor]:
    geometry = (stride, padding, dilation, groups)
    call = FusedCall(x, coefficients, spatial, temporal, geometry)
    out, scratch = call.output(), call.scratch()
    part = call.cut(scratch)
    atoms = call.atoms(spatial, temporal, part["atoms"])
    mixing_GKO = call.mixing(coefficients, part["mixing"])
    depth, group_out, width = *mixing_GKO.shape[1:], call.g.output_size[2]
    for clips in call.batches():
        x_BTHWC = call.clips_last(x, clips, part.get("clip"))
        y_PO = call.positions(out, clips)
        for rows in call.tiles():
            n = len(rows) * width
            maps_PK = part["maps"][: n * depth].view(n, depth)
            tile_PO = y_PO[rows.start * width : rows.stop * width]
            for group in range(groups):
                kernel.make_maps(call.g, x_BTHWC, group, atoms, maps_PK, part["window"], rows)
                columns = slice(group * group_out, (group + 1) * group_out)
                to_PO = tile_PO[:, columns]
                if bias is None:
                    _multiply(maps_PK, mixing_GKO[group], to_PO)
                else:
                    to_PO.copy_(bias[columns].expand_as(to_PO))
                    _multiply(maps_PK, mixing_GKO[group], to_PO, add=True)
    return out, scratch


def _multiply(a: Tensor, b: Tensor, out: Tensor, add: bool = False) -> None:
    """out (+)= a·b, written where `out` lies, which may be a transposed view."""
    if out.stride(1) != 1 and out.stride(0) == 1:
        a, b, out = b.t(), a.t(), out.t()
    torch.addmm(out, a, b, beta=int(add), out=out)


@_forward.register_fake
def _(
    x: Tensor,
    coefficients: Tensor,
    spatial: Tensor,
    temporal: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> tuple[Tensor, Tensor]:
    geometry = (stride, padding, dilation, groups)
    call = FusedCall(x, coefficients, spatial, temporal, geometry)
    return call.output(), call.scratch()


@torch.library.custom_op("stdcf::factored_conv3d_backward", mutates_args=())
def _backward(
    grad: Tensor,
    x: Tensor,
    coefficients: Tensor,
    spatial: Tensor,
    temporal: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    needs_x: bool,
    needs_atoms: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    geometry = (stride, padding, dilation, groups)
    call = FusedCall(x, coefficients, spatial, temporal, geometry, True, needs_x, needs_atoms)
    outputs = _gradients(call, coefficients, spatial, temporal, needs_x, needs_atoms)
    grad_x, grad_coefficients, grad_spatial, grad_temporal, scratch = outputs
    part = call.cut(scratch)
    g, width = call.g, call.g.output_size[2]
    atoms = call.atoms(spatial, temporal, part["atoms"])
    mixing_GKO = call.mixing(coefficients, part["mixing"])
    depth, group_out = mixing_GKO.shape[1:]
    # Where its type is the coefficients', it is summed where the gradient will lie.
    summed = part.get("grad_mixing", grad_coefficients.transpose(1, 2))
    grad_mixing = summed.zero_().view(groups, group_out, depth)
    grad_mixing_GKO = grad_mixing.transpose(1, 2)
    sums = part["atom_sums"].view(groups, -1).zero_() if needs_atoms else [None] * groups
    apart = part.get("grad_clip")
    if needs_x and apart is None:
        grad_x.zero_()
    for clips in call.batches():
        x_BTHWC = call.clips_last(x, clips, part.get("clip"))
        dx_BTHWC = None
        if needs_x and apart is not None:
            dx_BTHWC = apart.zero_().view(x_BTHWC.shape)
        elif needs_x:
            dx_BTHWC = call.clips_last(grad_x, clips, None)
        gy_PO = call.positions(grad, clips)
        for rows in call.tiles():
            n = len(rows) * width
            maps_PK = part["maps"][: n * depth].view(n, depth)
            tile_PO = gy_PO[rows.start * width : rows.stop * width]
            for group in range(groups):
                gy = tile_PO[:, group * group_out : (group + 1) * group_out]
                kernel.make_maps(g, x_BTHWC, group, atoms, maps_PK, part["window"], rows)
                if "product" in part:
                    product = part["product"].view(group_out, depth).t()
                    _multiply(maps_PK.t(), gy, product)
                    grad_mixing_GKO[group] += product
                else:
                    _multiply(maps_PK.t(), gy, grad_mixing_GKO[group], add=True)
                if needs_x or needs_atoms:
                    # The maps' gradients take the maps' place.
                    _multiply(gy, mixing_GKO[group].t(), maps_PK)
                    kernel.adjoint(
                        g,
                        x_BTHWC,
                        group,
                        maps_PK,
                        atoms,
                        dx_BTHWC,
                        sums[group],
                        part["window"],
                        rows,
                    )
        if needs_x and apart is not None:
            clip = grad_x[clips.start]
            if call.channels_last:
                clip.permute(1, 2, 3, 0).copy_(apart.view(x_BTHWC.shape[1:]))
            else:
                clip.view(clip.shape[0], -1).copy_(apart.view(-1, clip.shape[0]).t())
    if "grad_mixing" in part:
        by_map = grad_mixing.view(len(coefficients), -1, g.group_in)
        grad_coefficients.copy_(by_map.transpose(1, 2))
    if needs_atoms:
        total = part["atom_sums"].view(-1, g.num_atom_sums).sum(0)
        first, second = total.split([spatial.numel(), temporal.numel()])
        grad_spatial.copy_(first.view_as(spatial))
        grad_temporal.copy_(second.view_as(temporal))
    return outputs


def _gradients(
    call: FusedCall,
    coefficients: Tensor,
    spatial: Tensor,
    temporal: Tensor,
    needs_x: bool,
    needs_atoms: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Backward's outputs, not yet written; empty where a gradient is not needed."""
    nothing = call.x.new_empty(0)
    grad_x = torch.empty_like(call.x, memory_format=layout_of(call.x)) if needs_x else nothing
    # An operator's outputs may not share memory.
    grads = (torch.empty_like(spatial), torch.empty_like(temporal))
    if not needs_atoms:
        grads = (call.x.new_empty(0), call.x.new_empty(0))
    # Atom by atom, as the product makes it.
    c_out, c_in, atoms = coefficients.shape
    by_map = coefficients.new_empty(c_out, atoms, c_in)
    return grad_x, by_map.transpose(1, 2), *grads, call.scratch()


@_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    coefficients: Tensor,
    spatial: Tensor,
    temporal: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    needs_x: bool,
    needs_atoms: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    geometry = (stride, padding, dilation, groups)
    call = FusedCall(x, coefficients, spatial, temporal, geometry, True, needs_x, needs_atoms)
    return _gradients(call, coefficients, spatial, temporal, needs_x, needs_atoms)


def _pull(grad: Tensor, inputs: Inputs, geometry: OperatorOptions, needs: Needs) -> Four:
    flags = needs.x, needs.atoms
    return torch.ops.stdcf.factored_conv3d_backward(grad, *inputs, *geometry, *flags)[:4]


def _given(flags: Sequence[bool], outputs: Four) -> tuple[Sequence[bool], Four]:
    needs_x, needs_atoms = flags
    return (needs_x, True, needs_atoms, needs_atoms), outputs[:4]


register(_forward, _pull, _backward, _given)


def _macs(
    x: tuple[int, ...],
    coefficients: tuple[int, ...],
    spatial: tuple[int, ...],
    temporal: tuple[int, ...],
    y: tuple[int, ...],
) -> tuple[int, int]:
    """Of the matrix product, and of the atoms' pass over time and space."""
    batch, channels, _, height, width = x
    (m, k_h, k_w), (n, k_t) = spatial, temporal
    out_positions = batch * y[2] * y[3] * y[4]
    mixing = out_positions * coefficients[0] * coefficients[1] * m * n
    over_time = batch * y[2] * height * width * channels * n * k_t
    return mixing, over_time + out_positions * channels * n * m * k_h * k_w


@register_flop_formula(torch.ops.stdcf.factored_conv3d)
def _forward_flops(
    x: Any, coefficients: Any, spatial: Any, temporal: Any, *_: Any, out_shape: Any, **__: Any
) -> int:
    """Twice the multiply-accumulates of one pass."""
    return 2 * sum(_macs(x, coefficients, spatial, temporal, out_shape[0]))


@register_flop_formula(torch.ops.stdcf.factored_conv3d_backward)
def _backward_flops(
    grad: Any,
    x: Any,
    coefficients: Any,
    spatial: Any,
    temporal: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    needs_x: bool,
    needs_atoms: bool,
    **_: Any,
) -> int:
    """Maps made again and the products; then the adjoint pass, twice for the atoms' gradients."""
    mixing, atoms = _macs(x, coefficients, spatial, temporal, grad)
    products = 1 + (needs_x or needs_atoms)
    passes = 1 + (needs_x or needs_atoms) + 2 * needs_atoms
    return 2 * (products * mixing + passes * atoms)
