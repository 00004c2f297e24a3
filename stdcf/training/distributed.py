"""One run on several devices, a process each; a run on one device takes the same path.

The global batch is the run's batch_size whatever the number of processes: each takes its share of
every batch, and gradients are those of the mean over all of it, so learning rates mean the same.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stdcf.training.sync_batchnorm import synchronise

T = TypeVar("T")

_TIMEOUT = timedelta(minutes=60)


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, and which of them this is.

    Attributes:
        rank: from 0, which alone writes files.
        sync_batchnorm: batch normalisation over the global batch, not over each process's share.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sync_batchnorm: bool = True

    @property
    def is_first(self) -> bool:
        """Whether this process writes what the run leaves behind."""
        return self.rank == 0

    def share(self, batch: Sequence[int]) -> list[int]:
        """This process's clips of a global batch; all of them where there are not enough.

        Shares do not overlap and together are the batch. A batch of fewer clips than processes is
        given to each whole, for then too the mean over all processes is the batch's.
        """
        if len(batch) < self.size:
            return list(batch)
        return list(batch[self.rank :: self.size])

    def copies(self, batch_size: int) -> int:
        """How many processes get each clip of a global batch."""
        return self.size if batch_size < self.size else 1

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass averages gradients over all processes.

        Which parameters learn must not change afterwards: a stage that frees others wraps anew.
        """
        if self.size == 1:
            return model
        on_cuda = self.device.type == "cuda"
        return nn.parallel.DistributedDataParallel(
            model,
            device_ids=[self.device] if on_cuda else None,
            # Statistics are equal already where they are synchronised; where they are not, the
            # first process's count, as they do in what it saves.
            broadcast_buffers=not self.sync_batchnorm,
            gradient_as_bucket_view=True,
        )

    def synchronised(self, model: nn.Module) -> nn.Module:
        """The model with batch normalisation over the global batch, if the run asks for it."""
        return synchronise(model, self.device) if self.size > 1 and self.sync_batchnorm else model

    def of_global_mean(self, loss: Tensor, clips: int, all_clips: int) -> Tensor:
        """The loss whose gradients `wrap` averages to those of the mean over the global batch.

        Args:
            loss: mean over this process's clips.
            all_clips: of all processes together.
        """
        return loss if self.size == 1 else loss * (self.size * clips / all_clips)

    def total(self, *values: float) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(sums)
        return sums.tolist()

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        return value if self.size == 1 else self.total(value)[0] > 0

    def gather(self, value: T) -> list[T]:
        """The value of every process, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values


ALONE = Ranks()


@contextmanager
def joined(device: torch.device, *, size: int, sync_batchnorm: bool = True) -> Iterator[Ranks]:
    """Joins the run's processes: NCCL on CUDA, gloo on CPU; of one process, nothing is joined.

    MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE come from the environment, as from torchrun or
    submitit's TorchDistributedEnvironment.

    Raises:
        RuntimeError: if the environment is of another number of processes.
    """
    if size == 1:
        yield Ranks(device=device)
        return
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size != size:
        raise RuntimeError(f"the run is made for {size} processes, and WORLD_SIZE is {world_size}")
    on_cuda = device.type == "cuda"
    if on_cuda:
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "nccl" if on_cuda else "gloo", timeout=_TIMEOUT, device_id=device if on_cuda else None
    )
    try:
        yield Ranks(torch.distributed.get_rank(), size, device, sync_batchnorm)
    finally:
        torch.distributed.destroy_process_group()
