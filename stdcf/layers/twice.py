"""Second derivatives of a fused operator, by autograd through torch's own convolutions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stdcf.layers.plain import Options, plain_factored


def pull_twice(
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
