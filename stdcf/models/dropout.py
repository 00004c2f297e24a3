"""Dropout that keeps one byte an element, and draws its mask fast on CPU."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from stdcf.layers.plans import device_kind


class ByteMaskDropout(nn.Dropout):
    """Dropout that keeps a one-byte mask for backward on every device.

    nn.Dropout does so on CUDA, but on CPU it keeps a mask of the input's type, and drawing it
    element by element took a fifth of kth_cnn's training step. Here a random byte an element is
    compared with 256·p, so on CPU p counts in steps of 1/256; other probabilities take torch's own
    way.
    """

    def forward(self, input: Tensor) -> Tensor:
        if isinstance(input, fx.Proxy):
            # A leaf of the graph, as nn.Dropout is.
            tracer = input.tracer
            return tracer.create_proxy("call_module", tracer.path_of_module(self), (input,), {})
        if not self.training or self.p == 0:
            return input
        counts = self.p < 1 and (256 * self.p).is_integer()
        if device_kind(input) == "cuda" or not counts or not _is_dense(input):
            return torch.native_dropout(input, self.p, True)[0]
        return _MaskedScale.apply(input, _keep_mask(input, self.p), 1 / (1 - self.p))


def _is_dense(x: Tensor) -> bool:
    return x.is_contiguous() or (
        x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d)
    )


def _keep_mask(x: Tensor, p: float) -> Tensor:
    """bool, of x's shape and layout, True with probability 1 − p."""
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(
        -(2**63), None
    )
    keep = words.view(torch.uint8)[: x.numel()] >= round(256 * p)
    return keep.as_strided(x.shape, x.stride())


class _MaskedScale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return (x * keep).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), None, None
