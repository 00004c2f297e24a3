"""What DistributedDataParallel keeps: gradients lie in buckets, which outlive every step.

As torch/csrc/distributed/c10d/reducer.cpp lays them out with gradient_as_bucket_view=True, which is
how `stdcf.training` wraps a model: buckets of 25 MiB, the first of 1 MiB, filled from the last
parameter on. NCCL's own buffers lie outside of the allocator and are not counted.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

FIRST_BYTES = 2**20
BYTES = 25 * 2**20


class GradientBuckets:
    """Buckets of gradients, and hooks that lay every gradient into its own.

    Args:
        parameters: that are trained, in the model's order.
        micro_batches: gradients go into the buckets with the last of them, as under `no_sync`.

    Attributes:
        tensors: the buckets.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], micro_batches: int = 1) -> None:
        self.tensors: list[Tensor] = []
        self._undo: list[Callable[[], None]] = []
        self._last = micro_batches
        for bucket in assigned(parameters):
            flat = torch.empty(sum(p.numel() for p in bucket), dtype=bucket[0].dtype)
            self.tensors.append(flat)
            offset = 0
            for parameter in bucket:
                place = flat[offset : offset + parameter.numel()].view(parameter.shape)
                hook = partial(self._lay, place, [0])
                self._undo.append(parameter.register_post_accumulate_grad_hook(hook).remove)
                offset += parameter.numel()

    def _lay(self, place: Tensor, calls: list[int], parameter: Tensor) -> None:
        calls[0] += 1
        if calls[0] == self._last and parameter.grad is not None:
            with torch.no_grad():
                place.copy_(parameter.grad)
            parameter.grad = place

    def remove(self) -> None:
        """Takes the hooks away."""
        while self._undo:
            self._undo.pop()()


def assigned(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Which parameters share a bucket: of one type, until it is full."""
    buckets: list[list[nn.Parameter]] = []
    filling: dict[torch.dtype, list[nn.Parameter]] = {}
    limits: dict[torch.dtype, int] = {}
    for parameter in reversed(parameters):
        bucket = filling.setdefault(parameter.dtype, [])
        bucket.append(parameter)
        if sum(p.numel() * p.element_size() for p in bucket) >= limits.get(
            parameter.dtype, FIRST_BYTES
        ):
            buckets.append(filling.pop(parameter.dtype))
            limits[parameter.dtype] = BYTES
    return [*buckets, *filling.values()]
