"""At a stage's first step on a GPU, the plans of the model's layers are measured."""

import os
import warnings

import torch
from torch import Tensor, nn

from stdcf.layers import STDCFConv3d
from stdcf.layers.cuda.library import problem
from stdcf.layers.layout import layout_of
from stdcf.layers.tuning import tune
from stdcf.training.distributed import Ranks
from stdcf.training.step import Numerics


def tune_at_start(
    model: nn.Module, x_BCTHW: Tensor, numerics: Numerics, ranks: Ranks, steps: int
) -> None:
    """`tune` before a stage's first step, by the first process; $STDCF_TUNE=0 does without.

    What was measured before, as in a run that is resumed, is not measured again. Where memory does
    not suffice, the layers that are left keep the composed plan.

    Args:
        steps: of the stage, done before; nothing is measured after the first.
    """
    chooses = any(isinstance(m, STDCFConv3d) and m.plan == "auto" for m in model.modules())
    if steps or not (x_BCTHW.is_cuda and chooses) or os.environ.get("STDCF_TUNE") == "0":
        return
    if problem() is not None:
        return
    if ranks.is_first:
        try:
            with numerics.autocast():
                tune(model, x_BCTHW.shape, x_BCTHW.dtype, layout_of(x_BCTHW))
        except torch.OutOfMemoryError:
            warnings.warn(
                "too little memory is free to measure the plans of all layers; those that are "
                "left take the composed plan",
                stacklevel=2,
            )
        torch.cuda.empty_cache()
    # The others read the first one's book.
    ranks.gather(None)
