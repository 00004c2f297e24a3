"""The plans by torch's own convolutions: what each makes of the input and of the parameters."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from stdcf.layers.composed import Parameters, compose, convolve
from stdcf.layers.padding import Triple


@dataclass(frozen=True)
class Options:
    """nn.Conv3d's stride, zero padding, dilation and groups."""

    stride: Triple
    padding: Triple
    dilation: Triple
    groups: int


@dataclass(frozen=True)
class Plan:
    """A convolution of maps of the input with a filter made of the parameters.

    Attributes:
        maps: of x [B, C, T, H, W] and (α, ψ, φ); None where the input itself is convolved.
        weight: of (α, ψ, φ), the last convolution's filter.
        last: options of the last convolution.
    """

    maps: Callable[[Tensor, Parameters, Options], Tensor] | None
    weight: Callable[[Parameters], Tensor]
    last: Callable[[Options], Options]


def _spatial_maps(x_BCTHW: Tensor, parameters: Parameters, options: Options) -> Tensor:
    """Channel c·M + i is input channel c seen through spatial atom i."""
    spatial, c = parameters[1], x_BCTHW.shape[1]
    m, k_h, k_w = spatial.shape
    (_, s_h, s_w), (_, p_h, p_w), (_, d_h, d_w) = options.stride, options.padding, options.dilation
    weight = spatial.view(1, m, 1, 1, k_h, k_w).expand(c, m, 1, 1, k_h, k_w)
    return F.conv3d(
        x_BCTHW,
        weight.reshape(c * m, 1, 1, k_h, k_w),
        None,
        (1, s_h, s_w),
        (0, p_h, p_w),
        (1, d_h, d_w),
        groups=c,
    )


def _temporal_maps(x_BCTHW: Tensor, parameters: Parameters, options: Options) -> Tensor:
    """Channel c·N + j is channel c seen through temporal atom j."""
    temporal, c = parameters[2], x_BCTHW.shape[1]
    n, k_t = temporal.shape
    weight = temporal.view(1, n, 1, k_t, 1, 1).expand(c, n, 1, k_t, 1, 1)
    return F.conv3d(
        x_BCTHW,
        weight.reshape(c * n, 1, k_t, 1, 1),
        None,
        (options.stride[0], 1, 1),
        (options.padding[0], 0, 0),
        (options.dilation[0], 1, 1),
        groups=c,
    )


def _factored_maps(x_BCTHW: Tensor, parameters: Parameters, options: Options) -> Tensor:
    """Channel (c·M + i)·N + j."""
    return _temporal_maps(_spatial_maps(x_BCTHW, parameters, options), parameters, options)


def _temporal_weight(parameters: Parameters) -> Tensor:
    """α contracted with φ, [C_out, C_in/groups·M, kT, 1, 1]."""
    coefficients, _, temporal = parameters
    mixed = coefficients.unflatten(2, (-1, temporal.shape[0])) @ temporal
    return mixed.flatten(1, 2)[..., None, None]


def _spatial_weight(parameters: Parameters) -> Tensor:
    """α contracted with ψ, [C_out, C_in/groups·N, 1, kH, kW]."""
    coefficients, spatial, _ = parameters
    by_temporal = coefficients.unflatten(2, (spatial.shape[0], -1)).transpose(2, 3)
    mixed = by_temporal @ spatial.flatten(1)
    return mixed.flatten(1, 2).unflatten(2, (1, *spatial.shape[1:]))


def _mixing(parameters: Parameters) -> Tensor:
    return parameters[0].flatten(1)[..., None, None, None]


def _in_time(o: Options) -> Options:
    return Options((o.stride[0], 1, 1), (o.padding[0], 0, 0), (o.dilation[0], 1, 1), o.groups)


def _in_space(o: Options) -> Options:
    return Options((1, *o.stride[1:]), (0, *o.padding[1:]), (1, *o.dilation[1:]), o.groups)


PLANS: dict[str, Plan] = {
    "composed": Plan(None, compose, lambda options: options),
    "spatial_first": Plan(_spatial_maps, _temporal_weight, _in_time),
    "temporal_first": Plan(_temporal_maps, _spatial_weight, _in_space),
    "factored": Plan(
        _factored_maps, _mixing, lambda o: Options((1, 1, 1), (0, 0, 0), (1, 1, 1), o.groups)
    ),
}


def plain_factored(x_BCTHW: Tensor, parameters: Parameters, options: Options) -> Tensor:
    """Equation 1 by torch's own convolutions, with autograd's own gradients of every order."""
    coefficients, spatial, temporal = parameters
    parameters = (coefficients, spatial.to(x_BCTHW.dtype), temporal.to(x_BCTHW.dtype))
    return _run(PLANS["factored"], x_BCTHW, parameters, None, options)


def _run(
    plan: Plan, x_BCTHW: Tensor, parameters: Parameters, bias: Tensor | None, options: Options
) -> Tensor:
    maps = x_BCTHW if plan.maps is None else plan.maps(x_BCTHW, parameters, options)
    return convolve(maps, plan.weight(parameters), bias, plan.last(options))
