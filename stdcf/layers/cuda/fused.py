"""The factored convolution on a GPU as an operator, ``torch.ops.stdcf.fused_conv3d``.

Its maps are in registers alone. Autograd keeps the input. Channel mixing and atoms commute, so at
stride 1 the input's gradient is the operator itself with flipped atoms and transposed coefficients;
at other strides it is that of the composed filter's convolution. Scratch memory is returned behind
the results, so that whoever follows tensors sees it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from stdcf.layers.composed import compose
from stdcf.layers.cuda import launch
from stdcf.layers.differentiate import Four, Inputs, Needs, OperatorOptions, register, triple
from stdcf.layers.geometry import Geometry
from stdcf.layers.layout import layout_of


def fused_conv3d(
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

    The arguments are `STDCFConv3d`'s parameters and options; float32, bfloat16 or float16, the
    coefficients and the bias of x's type. Any strides are taken; the output is contiguous or
    channels_last_3d as x is. The padding may be negative.
    """
    out, _ = torch.ops.stdcf.fused_conv3d(
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


@torch.library.custom_op("stdcf::fused_conv3d", mutates_args=())
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
    g = Geometry.of(x, coefficients, spatial, temporal, (stride, padding, dilation, groups))
    out, mixing = _output(g, x), launch.packed(coefficients, g)
    launch.pack(coefficients, g, mixing)
    launch.convolve(g, x, mixing, (spatial.contiguous(), temporal.contiguous()), bias, out)
    return out, mixing


def _output(g: Geometry, x: Tensor) -> Tensor:
    return torch.empty(g.output_shape, dtype=x.dtype, device=x.device, memory_format=layout_of(x))


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
    g = Geometry.of(x, coefficients, spatial, temporal, (stride, padding, dilation, groups))
    return _output(g, x), launch.packed(coefficients, g)


@torch.library.custom_op("stdcf::fused_conv3d_backward", mutates_args=())
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
    needs_coefficients: bool,
    needs_atoms: bool,
) -> list[Tensor]:
    """Gradients of α, ψ and φ, empty where they are not needed; then the scratch memory."""
    g = Geometry.of(x, coefficients, spatial, temporal, (stride, padding, dilation, groups))
    outputs = _gradients(g, x, coefficients, spatial, temporal, needs_coefficients, needs_atoms)
    grad_coefficients, grad_spatial, grad_temporal, sums, mixing, *atom_sums = outputs
    atoms = (spatial.contiguous(), temporal.contiguous())
    if needs_coefficients:
        total, parts = sums[0], sums[1:]
        launch.grad_mixing(g, x, grad, atoms, parts)
        torch.sum(parts, 0, out=total)
        by_group = grad_coefficients.unflatten(0, (g.groups, g.group_out))
        by_group.copy_(total.permute(1, 3, 2, 0))
    if needs_atoms:
        launch.pack(coefficients, g, mixing)
        launch.grad_atoms(g, x, grad, mixing, atoms, *atom_sums)
        grad_spatial.copy_(atom_sums[0].sum((1, 2)).view_as(spatial))
        grad_temporal.copy_(atom_sums[1].sum(3).sum(0))
    return outputs


def _gradients(
    g: Geometry,
    x: Tensor,
    coefficients: Tensor,
    spatial: Tensor,
    temporal: Tensor,
    needs_coefficients: bool,
    needs_atoms: bool,
) -> list[Tensor]:
    """Backward's outputs, not yet written."""
    outputs = [x.new_empty(0) for _ in range(7)]
    if needs_coefficients:
        parts, _ = launch.mixing_parts(g, x)
        outputs[0] = coefficients.new_empty(coefficients.shape)
        shape = (parts + 1, g.pairs, g.groups, g.group_in, g.group_out)
        outputs[3] = x.new_empty(shape, dtype=torch.float32)
    if needs_atoms:
        outputs[1:3] = spatial.new_empty(spatial.shape), temporal.new_empty(temporal.shape)
        outputs[4] = launch.packed(coefficients, g)
        shapes = launch.atom_sums(g, x)
        outputs[5:] = (x.new_empty(shape, dtype=torch.float32) for shape in shapes)
    return outputs


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
    needs_coefficients: bool,
    needs_atoms: bool,
) -> list[Tensor]:
    g = Geometry.of(x, coefficients, spatial, temporal, (stride, padding, dilation, groups))
    return _gradients(g, x, coefficients, spatial, temporal, needs_coefficients, needs_atoms)


def _pull(grad: Tensor, inputs: Inputs, geometry: OperatorOptions, needs: Needs) -> Four:
    grad_x = _input_gradient(grad, *inputs, *geometry) if needs.x else None
    if not (needs.coefficients or needs.atoms):
        return (grad_x, None, None, None)
    flags = needs.coefficients, needs.atoms
    outputs = torch.ops.stdcf.fused_conv3d_backward(grad, *inputs, *geometry, *flags)
    return (grad_x, *outputs[:3])


def _input_gradient(
    grad: Tensor,
    x: Tensor,
    coefficients: Tensor,
    spatial: Tensor,
    temporal: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    if any(s != 1 for s in stride):
        weight = compose((coefficients, spatial.to(x.dtype), temporal.to(x.dtype)))
        # Not by `convolution_backward` of ours, which second derivatives do not pass.
        grad_x, _, _ = torch.ops.aten.convolution_backward(
            grad,
            x,
            weight,
            None,
            stride,
            padding,
            dilation,
            False,
            (0, 0, 0),
            groups,
            (True, False, False),
        )
        return grad_x
    sizes = (temporal.shape[1], *spatial.shape[1:])
    behind = [d * (k - 1) - p for k, p, d in zip(sizes, padding, dilation, strict=True)]
    transposed = coefficients.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    flipped = spatial.flip(1, 2), temporal.flip(1)
    return fused_conv3d(
        grad, transposed, *flipped, None, (1, 1, 1), triple(behind), triple(dilation), groups
    )


def _given(flags: Sequence[bool], outputs: Four) -> tuple[Sequence[bool], Four]:
    needs_coefficients, needs_atoms = flags
    return (False, needs_coefficients, needs_atoms, needs_atoms), (None, *outputs[:3])


register(_forward, _pull, _backward, _given)


def _macs(
    coefficients: tuple[int, ...], spatial: tuple[int, ...], temporal: tuple[int, ...],
    y: tuple[int, ...], groups: int,
) -> tuple[int, int]:  # fmt: skip
    """Of the products with α, and of the maps, which are made frame by frame."""
    (m, k_h, k_w), (n, k_t) = spatial, temporal
    positions = y[0] * y[2] * y[3] * y[4]
    mixing = positions * coefficients[0] * coefficients[1] * m * n
    return mixing, positions * groups * coefficients[1] * m * k_t * (k_h * k_w + n)


@register_flop_formula(torch.ops.stdcf.fused_conv3d)
def _forward_flops(
    x: Any, coefficients: Any, spatial: Any, temporal: Any, bias: Any,
    stride: Any, padding: Any, dilation: Any, groups: int, *_: Any, out_shape: Any, **__: Any,
) -> int:  # fmt: skip
    """Twice the multiply-accumulates of one pass over C_in, as for one block of outputs."""
    return 2 * sum(_macs(coefficients, spatial, temporal, out_shape[0], groups))


@register_flop_formula(torch.ops.stdcf.fused_conv3d_backward)
def _backward_flops(
    grad: Any, x: Any, coefficients: Any, spatial: Any, temporal: Any,
    stride: Any, padding: Any, dilation: Any, groups: int,
    needs_coefficients: bool, needs_atoms: bool, **_: Any,
) -> int:  # fmt: skip
    """Maps made again and a product for α; the maps' gradients and two passes for the atoms."""
    mixing, maps = _macs(coefficients, spatial, temporal, grad, groups)
    return 2 * (needs_coefficients * (mixing + maps) + needs_atoms * (mixing + 2 * maps))
