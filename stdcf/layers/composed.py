"""The plan "composed": the dense filter is made from its parts, and then convolves the input.

Of a network's many small calls the time is that of launching them, so what runs here is counted:
three operators forward, ten in backward, and no autograd graph of the filter.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from stdcf.layers.padding import Triple

Parameters = tuple[Tensor, Tensor, Tensor]


class Options(Protocol):
    """nn.Conv3d's stride, zero padding, dilation and groups."""

    @property
    def stride(self) -> Triple: ...
    @property
    def padding(self) -> Triple: ...
    @property
    def dilation(self) -> Triple: ...
    @property
    def groups(self) -> int: ...


def compose(parameters: Parameters) -> Tensor:
    """The dense filter, [C_out, C_in/groups, kT, kH, kW] (Eq. 2)."""
    coefficients, spatial, temporal = parameters
    return _filter(coefficients, _dictionary(spatial, temporal), _size(spatial, temporal))


def _size(spatial: Tensor, temporal: Tensor) -> tuple[int, int, int]:
    return temporal.shape[1], spatial.shape[1], spatial.shape[2]


def _dictionary(spatial: Tensor, temporal: Tensor) -> Tensor:
    """Every pair of atoms as a row, [M·N, kT·kH·kW]."""
    pairs = temporal.view(1, *temporal.shape, 1) * spatial.flatten(1)[:, None, None]
    return pairs.reshape(pairs.shape[0] * pairs.shape[1], -1)


def _filter(coefficients: Tensor, atoms: Tensor, size: tuple[int, int, int]) -> Tensor:
    weight = coefficients.flatten(0, 1) @ atoms
    return weight.view(*coefficients.shape[:2], *size)


def convolve(x_BCTHW: Tensor, weight: Tensor, bias: Tensor | None, options: Options) -> Tensor:
    """A convolution with zero padding."""
    return F.conv3d(
        x_BCTHW,
        weight,
        bias,
        options.stride,
        options.padding,
        options.dilation,
        options.groups,
    )


class ComposedConv3d(torch.autograd.Function):
    """Keeps the input; backward makes the filter again.

    Not for torch.func's transforms: they want a separate set-up of the context, which binds the
    arguments' names in every call and takes longer than all the rest.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_BCTHW: Tensor,
        coefficients: Tensor,
        spatial: Tensor,
        temporal: Tensor,
        bias: Tensor | None,
        options: Options,
    ) -> Tensor:
        """x in the type that the convolution computes in."""
        ctx.options, ctx.has_bias = options, bias is not None
        ctx.save_for_backward(x_BCTHW, coefficients, spatial, temporal)
        dtype = x_BCTHW.dtype
        atoms = _dictionary(spatial, temporal).to(dtype)
        weight = _filter(coefficients.to(dtype), atoms, _size(spatial, temporal))
        return convolve(x_BCTHW, weight, bias, options)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, coefficients, spatial, temporal = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return _pull_twice(ctx, grad, x, coefficients, spatial, temporal)
        atoms = _dictionary(spatial, temporal).to(x.dtype)
        mixing = coefficients.to(x.dtype)
        weight = _filter(mixing, atoms, _size(spatial, temporal))
        needs_filter = any(needs[1:4])
        grad_x, grad_weight = convolution_backward(
            grad, x, weight, ctx.options, (needs[0], needs_filter)
        )
        del weight
        by_parts: tuple[Tensor | None, ...] = (None, None, None)
        if grad_weight is not None:
            flat = grad_weight.reshape(-1, atoms.shape[1])
            del grad_weight
            by_parts = _pull_filter(flat, mixing, atoms, (coefficients, spatial, temporal), needs)
        grad_bias = grad.sum((0, 2, 3, 4)) if ctx.has_bias and needs[4] else None
        return grad_x, *by_parts, grad_bias, None


def _pull_filter(
    grad_flat: Tensor, mixing: Tensor, atoms: Tensor, parameters: Parameters, needs: Any
) -> tuple[Tensor | None, ...]:
    """Gradients of α, ψ and φ, where they are needed.

    Args:
        grad_flat: of the filter, [C_out·C_in/groups, kT·kH·kW].
        mixing: α in the type of the convolution.
    """
    coefficients, spatial, temporal = parameters
    grad_mixing = grad_spatial = grad_temporal = None
    if needs[1]:
        grad_mixing = (grad_flat @ atoms.t()).view_as(coefficients).to(coefficients.dtype)
    if needs[2] or needs[3]:
        by_pair = (mixing.flatten(0, 1).t() @ grad_flat).to(spatial.dtype)
        by_pair = by_pair.view(len(spatial), temporal.numel(), -1)
        if needs[2]:
            grad_spatial = (temporal.flatten() @ by_pair).view_as(spatial)
        if needs[3]:
            grad_temporal = (by_pair @ spatial.flatten(1)[..., None]).sum(0).view_as(temporal)
    return grad_mixing, grad_spatial, grad_temporal


def _pull_twice(
    ctx: Any, grad: Tensor, x_BCTHW: Tensor, *parameters: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients that can be differentiated again, by autograd alone."""
    wanted = ctx.needs_input_grad
    coefficients, spatial, temporal = (p.to(x_BCTHW.dtype) for p in parameters)
    y = convolve(x_BCTHW, compose((coefficients, spatial, temporal)), None, ctx.options)
    inputs = (x_BCTHW, *parameters)
    named = [t for t, needed in zip(inputs, wanted, strict=False) if needed]
    found = iter(torch.autograd.grad(y, named, grad, create_graph=True) if named else ())
    grads = [next(found) if needed else None for needed in wanted[:4]]
    grad_bias = grad.sum((0, 2, 3, 4)) if ctx.has_bias and wanted[4] else None
    return *grads, grad_bias, None


def convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, options: Options, needs: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of a convolution's input and filter, in the types that those have."""
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        x.detach().to(grad.dtype),
        weight.detach().to(grad.dtype),
        None,
        options.stride,
        options.padding,
        options.dilation,
        False,
        (0, 0, 0),
        options.groups,
        (*needs, False),
    )
    return (
        None if grad_x is None else grad_x.to(x.dtype),
        None if grad_weight is None else grad_weight.to(weight.dtype),
    )
