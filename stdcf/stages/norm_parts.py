"""Batch normalisation by the statistics of a batch's parts.

A batch of many small clips would otherwise be normalised by more clips than the full-size batch
that ends the training, and that regularises less (Wu et al. 2020, §3).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def normalise_in_parts(model: nn.Module, parts: int) -> None:
    """From now on each BatchNorm of the model treats a training batch in so many parts, in turn.

    Each part has its own statistics and moves the running ones. 1 is BatchNorm as it is.
    """
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            norm.__dict__.pop("forward", None)
            if parts > 1:
                norm.__dict__["forward"] = partial(_in_parts, norm, parts)


def _in_parts(norm: _BatchNorm, parts: int, x: Tensor) -> Tensor:
    whole = type(norm).forward
    if not norm.training or len(x) < 2:
        return whole(norm, x)
    cut = x.tensor_split(min(parts, len(x)))
    return torch.cat([whole(norm, part) for part in cut])
