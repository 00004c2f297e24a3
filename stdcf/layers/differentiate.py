"""How autograd meets a fused operator: what is kept, and its first and second derivatives."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stdcf.layers.layout import layout_of
from stdcf.layers.padding import Triple
from stdcf.layers.plain import Options, plain_factored

# stride, padding, dilation and groups, as operators take them.
OperatorOptions = tuple[list[int], list[int], list[int], int]


class Needs(NamedTuple):
    """Which gradients are asked for; the atoms' come together."""

    x: bool
    coefficients: bool
    atoms: bool


# x, α, ψ and φ, and something for each of them.
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
Four = Sequence[Tensor | None]
Gradients = Callable[[Tensor, Inputs, OperatorOptions, Needs], Four]
Given = Callable[[Sequence[bool], Four], tuple[Sequence[bool], Four]]


def register(forward: Any, gradients: Gradients, backward: Any, given: Given) -> None:
    """Give an operator and its backward pass their derivatives.

    Args:
        forward: custom operator of x, α, ψ, φ, bias, stride, padding, dilation and groups that
            returns its output and scratch memory.
        gradients: of the output's gradient, (x, α, ψ, φ), the geometry and what is needed: those
            of x, α, ψ and φ, of which anything is taken where one is not needed.
        backward: custom operator of the output's gradient, x, α, ψ, φ, the geometry and flags.
        given: of those flags and something for each of its outputs: which of the four gradients it
            gives, and what there is for them.
    """

    def first(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        return _differentiate(ctx, grad, gradients)

    def second(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        # An operator's outputs are a tuple or one list.
        of_outputs = grads[0] if isinstance(grads[0], list | tuple) else grads
        return _differentiate_twice(ctx, *given(ctx.flags, of_outputs))

    forward.register_autograd(first, setup_context=_save)
    backward.register_autograd(second, setup_context=_save_backward)


def triple(values: Sequence[int]) -> Triple:
    """The three values as a tuple."""
    t, h, w = values
    return t, h, w


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, coefficients, spatial, temporal, bias, *ctx.geometry = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, coefficients, spatial, temporal)
    # Of the scratch memory there would be zeros.
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad: Tensor | None, gradients: Gradients) -> tuple[Any, ...]:
    rest = (None,) * 4
    if grad is None:
        return (None,) * 5 + rest
    x, coefficients, spatial, temporal = ctx.saved_tensors
    needed, needs_bias = ctx.needs_input_grad[:4], ctx.needs_input_grad[4]
    grad = grad.to(memory_format=layout_of(x))
    grad_bias = grad.sum((0, 2, 3, 4)) if ctx.has_bias and needs_bias else None
    if not any(needed):
        return (None,) * 4 + (grad_bias, *rest)
    needs = Needs(needed[0], needed[1], needed[2] or needed[3])
    given = gradients(grad, (x, coefficients, spatial, temporal), ctx.geometry, needs)
    wanted = (g if n else None for g, n in zip(given, needed, strict=True))
    return (*wanted, grad_bias, *rest)


def _save_backward(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.geometry, ctx.flags = inputs[5:9], inputs[9:]
    ctx.set_materialize_grads(False)


def _differentiate_twice(ctx: Any, given: Sequence[bool], grads: Four) -> tuple[Any, ...]:
    """By autograd through plain torch: second derivatives are rare."""
    stride, padding, dilation, groups = ctx.geometry
    options = Options(triple(stride), triple(padding), triple(dilation), groups)
    second = _pull_twice(ctx.saved_tensors, options, given, grads)
    return (*second, *(None,) * (4 + len(ctx.flags)))


def _pull_twice(
    saved: Sequence[Tensor],
    options: Options,
    needed: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """Gradients of a backward pass's inputs.

    Args:
        saved: the output's gradient, x, α, ψ and φ.
        needed: which of the gradients of x, α, ψ and φ the backward pass gave.
        grads: of those four; None where nothing depends on one.

    Returns:
        Of `saved`; None where there is none.
    """
    grad, x, *parameters = inputs = [t.detach().requires_grad_() for t in saved]
    with torch.enable_grad():
        y = plain_factored(x, (parameters[0], parameters[1], parameters[2]), options)
        first = torch.autograd.grad(
            y, [t for t, n in zip(inputs[1:], needed, strict=True) if n], grad, create_graph=True
        )
        pairs = zip(first, (g for g, n in zip(grads, needed, strict=True) if n), strict=True)
        wanted = [(f, g) for f, g in pairs if g is not None and f.requires_grad]
        if not wanted:
            return (None,) * len(inputs)
        return torch.autograd.grad(
            [f for f, _ in wanted], inputs, [g for _, g in wanted], allow_unused=True
        )
