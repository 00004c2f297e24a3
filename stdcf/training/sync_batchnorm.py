"""Batch normalisation over the clips of all processes, on any device.

``nn.SyncBatchNorm`` refuses tensors on the CPU; there the statistics are all-reduced here.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stdcf.errors import UserError

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronise(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with every batch normalisation over all processes, in place; names stay."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for name, child in list(model.named_children()):
        setattr(model, name, synchronise(child, device))
    if not isinstance(model, _BatchNorm):
        return model
    if type(model) not in _KINDS:
        raise UserError(
            f"{type(model).__name__} cannot be synchronised over processes on the CPU; "
            "train it in one process, or without --sync-batchnorm"
        )
    return CpuSyncBatchNorm.of(model)


class CpuSyncBatchNorm(_BatchNorm):
    """nn.BatchNorm1d, 2d or 3d whose training statistics are of the clips of all processes."""

    @classmethod
    def of(cls, norm: _BatchNorm) -> "CpuSyncBatchNorm":
        """With the parameters and buffers of `norm`, which it shares."""
        synced = cls(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        for name, parameter in norm.named_parameters(recurse=False):
            synced.register_parameter(name, parameter)
        for name, buffer in norm.named_buffers(recurse=False):
            synced.register_buffer(name, buffer)
        return synced.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least [B, C], got {list(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] normalised over all dimensions but C, and over all processes."""
        self._check_input_dim(input)
        if not self.training:
            return super().forward(input)
        # As the native one: sums of half-precision activations in float32.
        x = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
        dims = [0, *range(2, input.dim())]
        shape = [1, -1] + [1] * (input.dim() - 2)
        count = _AllReduce.apply(torch.tensor(input.numel() / input.shape[1], dtype=torch.float64))
        n = float(count)
        mean_C = _AllReduce.apply(x.sum(dims)) / n
        centred = x - mean_C.view(shape)
        var_C = _AllReduce.apply(centred.square().sum(dims)) / n
        self._update(mean_C.detach(), var_C.detach() * (n / max(n - 1, 1)))
        out = centred * torch.rsqrt(var_C + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    @torch.no_grad()
    def _update(self, mean_C: Tensor, unbiased_var_C: Tensor) -> None:
        if not self.track_running_stats:
            return
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked += 1
        # momentum None: the mean over all batches so far, as in nn.BatchNorm3d.
        part = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean_C, part)
        self.running_var.lerp_(unbiased_var_C, part)


class _AllReduce(torch.autograd.Function):
    """The sum over all processes, and of its gradients the same: each one's loss depends on it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        torch.distributed.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (grad,) = grads
        grad = grad.contiguous().clone()
        torch.distributed.all_reduce(grad)
        return grad
