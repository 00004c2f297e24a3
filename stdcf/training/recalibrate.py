"""BatchNorm's statistics, estimated anew before a test: for it alone, or for good.

In training BatchNorm gathers its running mean and variance under dropout, at the size and dilation
of the stage. The test has none of these. Here the statistics are the plain average over batches of
training clips seen as the test sees its own: full size, the test's dilation, dropout off
(`recalibrated`), or as training sees them ("precise" statistics, Wu and Johnson, 2021; `settle`).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from stdcf.stages.apply import set_training
from stdcf.stages.stage import Stage
from stdcf.training.step import Numerics

# Clips of which the statistics are taken, at most.
CLIPS = 1024


@contextmanager
def recalibrated(
    model: nn.Module, clips_BCTHW: Iterable[Tensor], numerics: Numerics
) -> Iterator[None]:
    """Within the block the model has statistics of these clips; after it, its own again.

    The model must be dilated as in the test already. Weights do not change.

    Args:
        clips_BCTHW: batches of full-size clips, uint8 or as `Numerics.prepare` takes them.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    kept = [(norm, norm.momentum, [b.clone() for b in norm.buffers()]) for norm in norms]
    was_training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        for norm in norms:
            norm.reset_running_stats()
            # A plain average over the batches.
            norm.momentum = None
            norm.train()
        with torch.no_grad():
            for clip_BCTHW in clips_BCTHW:
                with numerics.autocast():
                    model(numerics.prepare(clip_BCTHW))
        model.eval()
        yield
    finally:
        for norm, momentum, buffers in kept:
            norm.momentum = momentum
            for buffer, value in zip(norm.buffers(), buffers, strict=True):
                buffer.copy_(value)
        for module, training in was_training.items():
            module.training = training


def settle(
    model: nn.Module, clips_BCTHW: Iterable[Tensor], numerics: Numerics, stage: Stage, seed: int
) -> None:
    """Gives BatchNorm the plain average of batches' statistics, in training mode, and keeps it.

    Layers that the stage freezes keep theirs. A batch of no clips is left out.

    Args:
        clips_BCTHW: batches as the loader gives them; each is prepared as the stage trains on it.
        seed: of dropout's draws; torch's random state is as before then.
    """
    set_training(model, stage)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
    momentums = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for clip_BCTHW in clips_BCTHW:
                if len(clip_BCTHW):
                    with numerics.autocast():
                        model(numerics.prepare(clip_BCTHW, stage))
    finally:
        for norm, momentum in zip(norms, momentums, strict=True):
            norm.momentum = momentum


def has_statistics(model: nn.Module) -> bool:
    """Whether there is anything to estimate."""
    return any(isinstance(m, _BatchNorm) and m.track_running_stats for m in model.modules())
