"""Batches of clips in a given order, from any number of worker processes."""

import ctypes
import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from stdcf.data.clips import shared_memory
from stdcf.data.clips.clips import Clips
from stdcf.data.clips.shared_memory import num_views
from stdcf.errors import UserError

# Called with the name of a video that cannot be decoded, and why.
OnBroken = Callable[[str, str], None]
Share = Callable[[Sequence[int]], list[int]]

_STALL_SECONDS = 600.0
_PR_SET_PDEATHSIG = 1


def _refuse(name: str, reason: str) -> None:
    raise UserError(f"{name}: {reason}. Copy it again, or take it out.")


def batches(
    dataset: Clips,
    batch_size: int | Sequence[int],
    *,
    order: np.ndarray | Sequence[int] | None = None,
    num_workers: int | None = 0,
    on_broken: OnBroken = _refuse,
    share: Share = list,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(clips uint8 [B, C, T, H, W], labels int64 [B], videos int64 [B]), the last batch partial.

    batch_size: of every batch, or of each in turn. order: clip indices (default: all, in turn). The
    batches and their order are the same for any number of workers, and torch's global random state
    is left alone. num_workers: None is one for each core but this process's own if the clips are
    decoded on the way, fewer where shared memory is short, else 0. on_broken: told of each video
    whose clips are missing from a batch, which is smaller then; without it that is a UserError, as
    is too little shared memory. share: the part of each batch's indices that this process gathers.
    """
    indices = np.arange(len(dataset)) if order is None else np.asarray(order)
    if isinstance(batch_size, int):
        batch_size = [batch_size] * -(-len(indices) // batch_size)
    stops = [0, *accumulate(batch_size)]
    chunks = [share(indices[start:stop].tolist()) for start, stop in pairwise(stops)]
    longest = max(map(len, chunks), default=0)
    num_workers = _workers(dataset, longest, len(chunks), num_workers)
    loader = DataLoader(
        dataset,
        batch_sampler=chunks,
        num_workers=num_workers,
        prefetch_factor=shared_memory.AHEAD if num_workers else None,
        worker_init_fn=partial(_end_with, os.getpid()),
        # A worker that hangs (on a network disk, say) ends the run with a row, not never.
        timeout=_STALL_SECONDS if num_workers else 0,
        collate_fn=_as_gathered,
        # Without its own, each epoch would draw a number from the global generator.
        generator=torch.Generator(),
    )
    for clip_BCTHW, label_B, video_B, *broken in _said(loader, dataset, longest):
        for name, reason in broken[0] if broken else ():
            on_broken(name, reason)
        yield clip_BCTHW, label_B, video_B


def check_shared_memory(
    datasets: Iterable[Clips], batch_size: int, num_workers: int | None
) -> None:
    """Before all work: UserError where /dev/shm is too small for the workers of `batches`.

    batch_size: in clips, of which an item of a dataset gives several if it has `num_views`.
    """
    for dataset in datasets:
        items = shared_memory.items_a_batch(len(dataset), num_views(dataset), batch_size)
        _workers(dataset, items, -(-len(dataset) // items), num_workers)


def _workers(dataset: Clips, clips: int, num_batches: int, num_workers: int | None) -> int:
    may_lower = num_workers is None
    if num_workers is None:
        num_workers = shared_memory.default_workers() if dataset.decodes else 0
    # Without workers no shared memory is needed, and nothing is asked of the data set.
    batch_bytes = _batch_bytes(dataset, clips) if num_workers else 0
    return shared_memory.fitting_workers(batch_bytes, num_batches, num_workers, may_lower=may_lower)


def _batch_bytes(dataset: Clips, items: int) -> int:
    """Of a batch's clips; 0 if the data set, which is not of `Clips` then, gives no clip_shape."""
    shape = getattr(dataset, "clip_shape", (0,))
    return items * num_views(dataset) * math.prod(shape)


def _said(loader: DataLoader, dataset: Clips, clips: int) -> Iterator[Any]:
    """The batches; shared memory that runs out on the way is said in one line."""
    try:
        yield from loader
    except RuntimeError as error:
        text = str(error).lower()
        if "shared memory" not in text and "bus error" not in text:
            raise
        needed = shared_memory.needed_bytes(_batch_bytes(dataset, clips), loader.num_workers)
        free = shared_memory.free_bytes() or 0
        raise shared_memory.too_little(needed, free, loader.num_workers) from error


def _as_gathered(batch: Any) -> Any:
    """`Clips.__getitems__` already made one tensor of each part."""
    if get_worker_info() is not None:
        # Here and not by the thread that sends them, whose errors nobody hears.
        for part in batch:
            if isinstance(part, Tensor):
                part.share_memory_()
    return batch


def _end_with(parent: int, _: int) -> None:
    """A worker is killed when its parent ends, whatever it waits for (Linux only)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        os._exit(1)
