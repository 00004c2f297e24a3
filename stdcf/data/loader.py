"""Batches of clips in a given order, from any number of worker processes."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from stdcf.data.clips import ClipDataset


def batches(
    dataset: ClipDataset,
    batch_size: int,
    *,
    order: np.ndarray | Sequence[int] | None = None,
    num_workers: int = 0,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(clips uint8 [B, C, T, H, W], labels int64 [B], videos int64 [B]), the last batch partial.

    order: clip indices (default: all, in turn). The batches and their order are the same for any
    number of workers, and torch's global random state is left alone.
    """
    indices = np.arange(len(dataset)) if order is None else np.asarray(order)
    chunks = [
        indices[start : start + batch_size].tolist() for start in range(0, len(indices), batch_size)
    ]
    return iter(
        DataLoader(
            dataset,
            batch_sampler=chunks,
            num_workers=num_workers,
            collate_fn=_as_gathered,
            # Without its own, each epoch would draw a number from the global generator.
            generator=torch.Generator(),
        )
    )


def _as_gathered(batch: Any) -> Any:
    """ClipDataset.__getitems__ already made one tensor of each part."""
    return batch
