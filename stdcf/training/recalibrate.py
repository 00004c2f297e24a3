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
    seen = {m: _Moments() for m in model.modules() if isinstance(m, _BatchNorm) and m.training}
    hooks = [norm.register_forward_pre_hook(moments.add) for norm, moments in seen.items()]
    try:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            for clip_BCTHW in clips_BCTHW:
                if len(clip_BCTHW):
                    with numerics.autocast():
                        model(numerics.prepare(clip_BCTHW, stage))
    finally:
        for hook in hooks:
            hook.remove()
    for norm, moments in seen.items():
        moments.give(norm)


class _Moments:
    """Sums of 1, x and x² a channel over all that a BatchNorm layer was given, in float64."""

    def __init__(self) -> None:
        self.sums_3C: Tensor | float = 0.0

    def add(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A batch, as a hook before the layer."""
        x_BCX = inputs[0].float()
        others = [axis for axis in range(x_BCX.dim()) if axis != 1]
        var_C, mean_C = (part.double() for part in torch.var_mean(x_BCX, others, correction=0))
        moments_3C = torch.stack([torch.ones_like(mean_C), mean_C, var_C + mean_C.square()])
        self.sums_3C = self.sums_3C + x_BCX.numel() // x_BCX.shape[1] * moments_3C

    def give(self, norm: nn.Module) -> None:
        """To the layer, if there was a batch."""
        if isinstance(self.sums_3C, Tensor):
            number_C, sum_C, squares_C = self.sums_3C
            mean_C = sum_C / number_C
            norm.get_buffer("running_mean").copy_(mean_C)
            norm.get_buffer("running_var").copy_(squares_C / number_C - mean_C.square())


def has_statistics(model: nn.Module) -> bool:
    """Whether there is anything to estimate."""
    return any(isinstance(m, _BatchNorm) and m.track_running_stats for m in model.modules())
