"""BatchNorm's statistics, estimated anew before a test: for it alone, or for good.

In training BatchNorm gathers its running mean and variance under dropout, at the size and dilation
of the stage. The test has none of these. Here the statistics are the plain average over batches of
training clips seen as the test sees its own: full size, the test's dilation, dropout off
(`recalibrated`), or those of all batches together as training sees them ("precise" statistics, Wu
and Johnson, 2021; `settle`).
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
    """Gives BatchNorm the statistics of all batches together, in training mode, and keeps them.

    The variance is that within the batches and that of their means, as PySlowFast and the Caffe2
    code of non-local networks take it. Layers that the stage freezes keep theirs. A batch of no
    clips is left out.

    Args:
        clips_BCTHW: batches as the loader gives them; each is prepared as the stage trains on it.
        seed: of dropout's draws; torch's random state is as before then.
    """
    set_training(model, stage)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
    momentums = [norm.momentum for norm in norms]
    totals_2C: dict[nn.Module, Tensor] = {}
    clips = 0
    for norm in norms:
        norm.reset_running_stats()
        # What it holds is then the last batch's.
        norm.momentum = 1.0
    try:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for clip_BCTHW in clips_BCTHW:
                if not len(clip_BCTHW):
                    continue
                with numerics.autocast():
                    model(numerics.prepare(clip_BCTHW, stage))
                clips += len(clip_BCTHW)
                for norm in norms:
                    moments_2C = len(clip_BCTHW) * _moments(norm)
                    totals_2C[norm] = totals_2C.get(norm, 0) + moments_2C
    finally:
        for norm, momentum in zip(norms, momentums, strict=True):
            norm.momentum = momentum
    for settled, total_2C in totals_2C.items():
        mean_C, square_C = total_2C / clips
        settled.get_buffer("running_mean").copy_(mean_C)
        settled.get_buffer("running_var").copy_(square_C - mean_C.square())


def _moments(norm: nn.Module) -> Tensor:
    """[2, C], means of x and x² by what a layer holds, in float64."""
    mean_C = norm.get_buffer("running_mean").double()
    var_C = norm.get_buffer("running_var").double()
    return torch.stack([mean_C, var_C + mean_C.square()])


def has_statistics(model: nn.Module) -> bool:
    """Whether there is anything to estimate."""
    return any(isinstance(m, _BatchNorm) and m.track_running_stats for m in model.modules())
