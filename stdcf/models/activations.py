"""ReLUs that differ in what they keep for the backward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class _InputSavingReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grad, x, 0)


class InputSavingReLU(nn.Module):
    """ReLU that keeps its input, as PyTorch's did in 2021.

    Wherever the output is kept by the next layer too, that is one more map alive.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _InputSavingReLU.apply(x)


RELUS: dict[str, Callable[[], nn.Module]] = {"output": nn.ReLU, "input": InputSavingReLU}
