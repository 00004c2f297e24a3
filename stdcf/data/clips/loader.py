"""Batches of clips in a given order, from any number of worker processes."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from stdcf.data.clips.clips import Clips
from stdcf.errors import UserError

# Called with the name of a video that cannot be decoded, and why.
OnBroken = Callable[[str, str], None]
Share = Callable[[Sequence[int]], list[int]]

_STALL_SECONDS = 600.0
_MOST_WORKERS = 16


def _refuse(name: str, reason: str) -> None:
    raise UserError(f"{name}: {reason}. Copy it again, or take it out.")


def batches(
    dataset: Clips,
    batch_size: int,
    *,
    order: np.ndarray | Sequence[int] | None = None,
    num_workers: int | None = 0,
    on_broken: OnBroken = _refuse,
    share: Share = list,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(clips uint8 [B, C, T, H, W], labels int64 [B], videos int64 [B]), the last batch partial.

    order: clip indices (default: all, in turn). The batches and their order are the same for any
    number of workers, and torch's global random state is left alone. num_workers: None is one for
    each core but this process's own if the clips are decoded on the way, else 0. on_broken: told of
    each video whose clips are missing from a batch, which is smaller then; without it that is a
    UserError. share: the part of each batch's indices that this process gathers.
    """
    if num_workers is None:
        cores = len(os.sched_getaffinity(0))
        num_workers = min(cores - 1, _MOST_WORKERS) if dataset.decodes else 0
    indices = np.arange(len(dataset)) if order is None else np.asarray(order)
    chunks = [
        share(indices[start : start + batch_size].tolist())
        for start in range(0, len(indices), batch_size)
    ]
    loader = DataLoader(
        dataset,
        batch_sampler=chunks,
        num_workers=num_workers,
        # A worker that hangs (on a network disk, say) ends the run with a row, not never.
        timeout=_STALL_SECONDS if num_workers else 0,
        collate_fn=_as_gathered,
        # Without its own, each epoch would draw a number from the global generator.
        generator=torch.Generator(),
    )
    for clip_BCTHW, label_B, video_B, *broken in loader:
        for name, reason in broken[0] if broken else ():
            on_broken(name, reason)
        yield clip_BCTHW, label_B, video_B


def _as_gathered(batch: Any) -> Any:
    """`Clips.__getitems__` already made one tensor of each part."""
    return batch
