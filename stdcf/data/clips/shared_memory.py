"""The shared memory through which data workers hand over their batches."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stdcf.errors import UserError

if TYPE_CHECKING:
    from stdcf.data.clips.clips import Clips

FOLDER = Path("/dev/shm")
# Batches that a worker makes ahead.
AHEAD = 2
# With the trainer: the one in use, and the next.
_IN_USE = 2
_MIB = 2**20
_MOST_WORKERS = 16
# Set for runs of which several share the machine.
RUNS_AT_A_TIME = "STDCF_RUNS_AT_A_TIME"


@dataclass(frozen=True)
class Load:
    """What the batches of a data set are made of.

    Attributes:
        items: of the data set.
        views: clips that an item gives.
        clip_bytes: of one, if it is decoded when it is asked for, so that workers make it; else 0.
    """

    items: int
    views: int
    clip_bytes: int

    @classmethod
    def of(cls, dataset: "Clips") -> "Load":
        """Of a data set."""
        clip_bytes = math.prod(dataset.clip_shape) if dataset.decodes else 0
        return cls(len(dataset), num_views(dataset), clip_bytes)

    def least_bytes(self, batch_size: int) -> int:
        """What one worker needs for batches of so many clips."""
        items = items_a_batch(self.items, self.views, batch_size)
        return needed_bytes(items * self.views * self.clip_bytes, 1, -(-self.items // items))


def num_views(dataset: "Clips") -> int:
    """Clips that an item gives."""
    return getattr(dataset, "num_views", 1)


def items_a_batch(items: int, views: int, batch_size: int) -> int:
    """How many items of `views` clips make a batch of so many clips."""
    return max(min(batch_size // views, items), 1)


def default_workers(runs: int | None = None) -> int:
    """One for each core but a run's own, of those that a run has; one on two cores.

    runs: at a time; None: as a runner told.
    """
    runs = int(os.environ.get(RUNS_AT_A_TIME, 1)) if runs is None else runs
    cores = len(os.sched_getaffinity(0))
    return min(max(cores // runs - 1, 1), cores - 1, _MOST_WORKERS)


def check_runs(loads: Sequence[tuple[Load, int]], at_a_time: int) -> None:
    """Before the first of several runs: UserError where it is too small for their workers.

    loads: each with its batch size in clips. at_a_time: runs, each with one worker at least.
    """
    free = free_bytes()
    if free is None or default_workers(at_a_time) == 0:
        return
    needed = max((load.least_bytes(batch_size) for load, batch_size in loads), default=0)
    if needed > free:
        raise too_little(needed, free, 1)
    if at_a_time * needed > free:
        raise UserError(
            f"{FOLDER} has {free / _MIB:.0f} MiB free, but the data workers of {at_a_time} runs at "
            f"a time need {remedy(at_a_time * needed)[:-1]}, or give --workers {free // needed}."
        )


def free_bytes() -> int | None:
    """What is free in /dev/shm; None where there is no such folder."""
    try:
        status = os.statvfs(FOLDER)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize


def needed_bytes(batch_bytes: int, num_workers: int, num_batches: int | None = None) -> int:
    """The most that workers have in it at a time.

    num_batches: that there are at all.
    """
    held = AHEAD * num_workers + _IN_USE
    return batch_bytes * (held if num_batches is None else min(held, num_batches))


def fitting_workers(
    batch_bytes: int, num_batches: int, num_workers: int, *, may_lower: bool
) -> int:
    """How many workers to start; fewer than `num_workers` only if `may_lower`, but one.

    Raises:
        UserError: where there is too little for them.
    """
    free = free_bytes()
    if free is None or num_workers == 0:
        return num_workers
    least = 1 if may_lower else num_workers
    share = free // int(os.environ.get(RUNS_AT_A_TIME, 1))
    for workers in range(num_workers, least - 1, -1):
        if needed_bytes(batch_bytes, workers, num_batches) <= (free if workers == least else share):
            return workers
    raise too_little(needed_bytes(batch_bytes, least, num_batches), free, least)


def too_little(needed: int, free: int, num_workers: int) -> UserError:
    """What to say of it."""
    workers = "a data worker needs" if num_workers == 1 else f"{num_workers} data workers need"
    return UserError(f"{FOLDER} has {free / _MIB:.0f} MiB free, but {workers} {remedy(needed)}")


def remedy(needed: int) -> str:
    """The need, and how to have it."""
    gib = max(-(-2 * needed // 2**30), 1)
    return (
        f"{needed / _MIB:.0f} MiB: give the container more shared memory (docker run "
        f"--shm-size={gib}g), or take smaller batches."
    )
