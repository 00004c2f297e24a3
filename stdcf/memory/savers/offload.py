"""Saved tensors in the host's memory."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.saver import Saver
from stdcf.memory.tracking.lives import on_host


@dataclass(eq=False)
class _OnHost:
    copy: Tensor
    device: torch.device

    def unpack(self) -> Tensor:
        return self.copy.to(self.device, non_blocking=True, copy=True)


class Offload(Saver):
    """Sends what is saved for backward to the host's memory, and back when it is asked for.

    The host needs as much memory instead, and each saved byte crosses the bus twice a step. On CPU
    the host's memory is the device's: there it shows what a device would need, and saves nothing.
    """

    name = "offload"
    costs = "copies to the host and back"

    def forward(
        self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing
    ) -> AbstractContextManager[object]:
        packing.packers.append(send)
        return nullcontext()


def send(tensor: Tensor) -> _OnHost:
    """A copy in the host's memory, pinned if the tensor is on a GPU."""
    with on_host():
        copy = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
        copy.copy_(tensor, non_blocking=True)
    return _OnHost(copy, tensor.device)
