"""Ways to execute an STDCF convolution: orders in which its tensor network is contracted.

All give the same output and gradients, and keep the input alone for backward, as nn.Conv3d does:
what lies between is made again there. C_in·C_out·(MACs a position):

    composed        t·k²      compose the dense filter, one convolution
    spatial_first   M·t       M spatial maps a channel, then a temporal convolution of M·C_in
    temporal_first  N·k²      N temporal maps a channel, then a spatial convolution of N·C_in
    factored        M·N       Eq. 1: spatial maps, temporal maps, mixing

each with the atoms' own pass over C_in channels where maps are made. "factored" is one fused kernel
on a CPU (`stdcf.layers.cpu`) and on NVIDIA's GPUs (`stdcf.layers.cuda`); elsewhere the maps of one
clip at a time are in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from stdcf.layers.checks import check_type
from stdcf.layers.composed import (
    ComposedConv3d,
    Parameters,
    convolution_backward,
)
from stdcf.layers.cpu.atoms import DTYPES
from stdcf.layers.cpu.library import library
from stdcf.layers.cuda.covers import covers
from stdcf.layers.cuda.library import problem
from stdcf.layers.layout import layout_of
from stdcf.layers.plain import PLANS, Options, Plan, _run


def run_plan(
    name: str, x_BCTHW: Tensor, parameters: Parameters, options: Options, bias: Tensor | None
) -> Tensor:
    """One STDCF convolution with zero padding, [B, C_in, T, H, W] -> [B, C_out, T', H', W'].

    Args:
        name: of `PLANS`.
        parameters: α, ψ and φ.

    Raises:
        RuntimeError: for an input that nn.Conv3d refuses, too.
    """
    check_type(x_BCTHW, parameters[0], bias)
    if name == "factored" and fused_runs(x_BCTHW, parameters, options):
        return _fused(x_BCTHW, parameters, bias, options)
    if torch.compiler.is_compiling() or _goes_by_operators(x_BCTHW):
        # A compiler decides itself what to keep.
        return _run(PLANS[name], x_BCTHW, parameters, bias, options)
    # What autocast makes of the input is kept, as by nn.Conv3d, and not the input itself.
    x_BCTHW = x_BCTHW.to(compute_dtype(x_BCTHW))
    if name == "composed":
        return ComposedConv3d.apply(x_BCTHW, *parameters, bias, options)
    return _Recomputed.apply(x_BCTHW, *parameters, bias, options, PLANS[name])


def _goes_by_operators(x: Tensor) -> bool:
    """Whether torch's own operators are asked for.

    A trace shows them; torch.func's transforms, forward-mode differentiation and complex numbers
    go through nothing else.
    """
    return (
        torch.jit.is_tracing()
        or x.is_complex()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def _fused(
    x_BCTHW: Tensor, parameters: Parameters, bias: Tensor | None, options: Options
) -> Tensor:
    coefficients, spatial, temporal = parameters
    dtype = compute_dtype(x_BCTHW)
    return _operator(device_kind(x_BCTHW))(
        x_BCTHW.to(dtype),
        coefficients.to(dtype),
        spatial,
        temporal,
        None if bias is None else bias.to(dtype),
        options.stride,
        options.padding,
        options.dilation,
        options.groups,
    )


def _operator(kind: str) -> Callable[..., Tensor]:
    if kind == "cpu":
        from stdcf.layers.cpu.fused import factored_conv3d

        return factored_conv3d
    from stdcf.layers.cuda.fused import fused_conv3d

    return fused_conv3d


_modelled_device: ContextVar[str | None] = ContextVar("modelled_device", default=None)


@contextmanager
def modelled_device(kind: str) -> Iterator[None]:
    """Plans run as they would on such a device ("cpu", "cuda"), wherever the tensors are."""
    token = _modelled_device.set(kind)
    try:
        yield
    finally:
        _modelled_device.reset(token)


def device_kind(x: Tensor) -> str:
    """The type of the device whose plans are asked for."""
    return _modelled_device.get() or x.device.type


def fused_runs(x_BCTHW: Tensor, parameters: Parameters, options: Options) -> bool:
    """Whether a fused kernel takes this call: the CPU's, or a GPU's."""
    kind = device_kind(x_BCTHW)
    if kind not in ("cpu", "cuda"):
        return False
    if not torch.compiler.is_compiling() and _goes_by_operators(x_BCTHW):
        return False
    dtype = compute_dtype(x_BCTHW)
    if kind == "cpu":
        return dtype in DTYPES and _kernel_is_there(kind)
    return covers(x_BCTHW, dtype, parameters, options.padding) and _kernel_is_there(kind)


@torch.compiler.assume_constant_result
def _kernel_is_there(kind: str) -> bool:
    return library() is not None if kind == "cpu" else problem() is None


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type that a convolution of x computes in; autocast leaves float64 as it is."""
    kind = device_kind(x)
    autocast = kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if autocast and x.dtype != torch.float64 else x.dtype


class _Recomputed(torch.autograd.Function):
    """Keeps the input; backward makes maps and filter again, the maps of one clip at a time."""

    @staticmethod
    def forward(
        x_BCTHW: Tensor,
        coefficients: Tensor,
        spatial: Tensor,
        temporal: Tensor,
        bias: Tensor | None,
        options: Options,
        plan: Plan,
    ) -> Tensor:
        parameters = (coefficients, spatial, temporal)
        if len(x_BCTHW) < 2:
            return _run(plan, x_BCTHW, parameters, bias, options)
        out = None
        for index, one in enumerate(x_BCTHW.split(1)):
            y = _run(plan, one, parameters, bias, options)
            if out is None:
                shape = (len(x_BCTHW), *y.shape[1:])
                out = torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=layout_of(y))
            out[index] = y[0]
        assert out is not None
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, coefficients, spatial, temporal, bias, ctx.options, ctx.plan = inputs
        ctx.has_bias = bias is not None
        ctx.save_for_backward(x, coefficients, spatial, temporal)
        ctx.autocast = _autocast_now(x.device.type)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, *parameters = ctx.saved_tensors
        needs = ctx.needs_input_grad
        pull = _pull_twice if torch.is_grad_enabled() else _pull
        with torch.enable_grad(), ctx.autocast():
            grads = pull(ctx.plan, grad, x, tuple(parameters), ctx.options)
        grad_bias = grad.sum((0, 2, 3, 4)) if ctx.has_bias and needs[4] else None
        return (*grads, grad_bias, None, None)


def _autocast_now(kind: str) -> Callable[[], AbstractContextManager[object]]:
    """The present autocast as a context for later."""
    if not torch.amp.is_autocast_available(kind):
        return nullcontext
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    return partial(torch.autocast, kind, dtype, enabled=enabled)


def _pull_twice(
    plan: Plan, grad: Tensor, x_BCTHW: Tensor, parameters: Parameters, options: Options
) -> list[Tensor | None]:
    """Gradients of x, α, ψ and φ that can be differentiated again, by autograd alone."""
    y = _run(plan, x_BCTHW, parameters, None, options)
    return _vjp(y, (x_BCTHW, *parameters), grad, create_graph=True)


def _pull(
    plan: Plan, grad: Tensor, x_BCTHW: Tensor, parameters: Parameters, options: Options
) -> list[Tensor | None]:
    """Gradients of x, α, ψ and φ; the last convolution is not run again."""
    leaves = _leaf(parameters[0]), _leaf(parameters[1]), _leaf(parameters[2])
    weight = plan.weight(leaves)
    last = plan.last(options)
    assert plan.maps is not None
    whole = torch.empty_like(x_BCTHW, memory_format=layout_of(x_BCTHW))
    grad_weight = None
    sums: list[Tensor | None] = [None] * 3
    for index, clip in enumerate(x_BCTHW.split(1)):
        one = clip.detach().requires_grad_(x_BCTHW.requires_grad)
        maps = plan.maps(one, leaves, options)
        needs = (maps.requires_grad, weight.requires_grad)
        grad_one = grad[index : index + 1]
        grad_maps, more = convolution_backward(grad_one, maps, weight, last, needs)
        grad_weight = _sum(grad_weight, more)
        grad_clip, *by_maps = _vjp(maps, (one, *leaves), grad_maps)
        sums = [_sum(a, b) for a, b in zip(sums, by_maps, strict=True)]
        if grad_clip is not None:
            # A slice, for of an empty batch there is one part without a clip.
            whole[index : index + 1] = grad_clip
        del maps, grad_maps, grad_clip
    by_weight = _vjp(weight, leaves, grad_weight)
    grads = [_sum(a, b) for a, b in zip(sums, by_weight, strict=True)]
    return [whole if x_BCTHW.requires_grad else None, *grads]


def _leaf(parameter: Tensor) -> Tensor:
    return parameter.detach().requires_grad_(parameter.requires_grad)


def _vjp(
    y: Tensor, inputs: Sequence[Tensor], grad: Tensor | None, create_graph: bool = False
) -> list[Tensor | None]:
    """Gradients of y's inputs; None for one that needs none or has no share in y."""
    if not y.requires_grad:
        return [None] * len(inputs)
    wanted = [t for t in inputs if t.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, grad, allow_unused=True, create_graph=create_graph))
    return [next(found) if t.requires_grad else None for t in inputs]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a.add_(b)
