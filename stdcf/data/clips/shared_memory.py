"""The shared memory through which data workers hand over their batches."""

import os
from pathlib import Path

from stdcf.errors import UserError

FOLDER = Path("/dev/shm")
# Batches that a worker makes ahead.
AHEAD = 2
# With the trainer: the one in use, and the next.
_IN_USE = 2
_MIB = 2**20


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
    for workers in range(num_workers, least - 1, -1):
        if needed_bytes(batch_bytes, workers, num_batches) <= free:
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
