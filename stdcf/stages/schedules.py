"""Schedules that are weighed against ITSL: their cards are in docs/rivals.md.

Each is asked for an amount of computation in full-size epochs, and its stages add up to that, but
for whole epochs. The rate falls by a factor once, as in a step schedule of two rates.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from stdcf.errors import UserError
from stdcf.stages.stage import Stage, total_cost

HALF = 0.5
ROOT = 0.5**0.5
# Long cycle of Wu et al. (2020): clips as a factor of the batch, temporal stride, spatial scale.
LONG_CYCLE = ((8, 4, ROOT), (4, 2, ROOT), (2, 2, 1.0), (1, 1, 1.0))
# Short cycle: the first steps of three take frames of at most half and 1/√2 of the full size.
SHORT_CYCLE = (HALF, ROOT, 1.0)
FALL = 0.1


def scaled_rate(lr: float, batch_scale: float, optimizer: str = "adam") -> float:
    """A rate for `batch_scale` times as many clips a step.

    It grows linearly for "sgd" (Goyal et al. 2017), and with the square root for Adam and AdamW,
    whose step does not grow with the gradient (Malladi et al. 2022).
    """
    return lr * (batch_scale if optimizer == "sgd" else batch_scale**0.5)


def multigrid(
    computation: float, *, lr: float, falls_after: float = 0.75, **options: Any
) -> tuple[Stage, ...]:
    """The multigrid method of Wu et al. (2020): large batches of small clips, then full-size ones.

    A long cycle of four clip sizes, each for as many steps, with 8, 4, 2 and 1 times the batch, so
    that no step computes more than the full-size one; within each stage a short cycle of frame
    sizes from step to step. Then full size, half of it at the first rate and half at the fallen
    one. The rate grows with the long cycle's batch (`scaled_rate`), and BatchNorm takes its
    statistics of as many clips as without the long cycle. The optimiser's state goes on.

    Args:
        computation: in full-size epochs.
        lr: of the run's batch.
        falls_after: share of the computation before the full-size stage.
        options: further fields of every `Stage`.
    """
    optimizer = options.get("optimizer", "adam")
    cost = computation * falls_after / len(LONG_CYCLE)
    stages = []
    for number, (clips, stride, scale) in enumerate(LONG_CYCLE, start=1):
        stage = Stage(
            name=f"g{number}",
            temporal_stride=stride,
            spatial_scale=scale,
            batch_scale=clips,
            cycle=tuple(min(size / scale, 1.0) for size in SHORT_CYCLE),
            norm_parts=clips,
            fresh_optimizer=number == 1,
            epochs=1,
            lr=scaled_rate(lr, clips, optimizer),
            **options,
        )
        stages.append(_lasting(stage, cost))
    last = _lasting(_full(lr, **options), computation * (1 - falls_after))
    milestones = (last.epochs // 2,) if last.epochs > 1 else ()
    return (*stages, last.changed(milestones=milestones, gamma=FALL, fresh_optimizer=False))


def progressive(
    computation: float,
    *,
    lr: float,
    falls_after: float = 0.75,
    steps: int = 4,
    smallest: float = HALF,
    **options: Any,
) -> tuple[Stage, ...]:
    """Clips that grow, as images do in progressive learning (Tan and Le 2021, EfficientNetV2).

    The spatial scale grows linearly from `smallest` to 1 over stages of as many epochs each, but
    for the last one, which ends with the computation; the first half of the stages takes every
    second frame. The batch stays, and so does dropout, which Tan and Le let grow too. The
    optimiser's state goes on.

    Args:
        computation: in full-size epochs.
        falls_after: share of the epochs after which the rate falls.
        steps: how many sizes.
        options: further fields of every `Stage`.

    Raises:
        UserError: for fewer than two sizes.
    """
    if steps < 2:
        raise UserError(f"progressive takes at least 2 sizes, not {steps}")
    stages = [
        Stage(
            name=f"p{number + 1}",
            temporal_stride=2 if 2 * number < steps else 1,
            spatial_scale=smallest + (1 - smallest) * number / (steps - 1),
            fresh_optimizer=number == 0,
            epochs=1,
            lr=lr,
            **options,
        )
        for number in range(steps)
    ]
    epochs = max(round(computation / sum(stage.relative_cost() for stage in stages)), 1)
    *growing, last = (stage.changed(epochs=epochs) for stage in stages)
    left = computation - total_cost(growing)
    return _falling([*growing, last.changed(epochs=max(round(left), 1))], falls_after)


def half_size(computation: float, *, lr: float, **options: Any) -> tuple[Stage, ...]:
    """Half of the height and width, then fine-tuning at full size; see `small_then_full`."""
    return small_then_full(computation, lr=lr, spatial_scale=HALF, **options)


def half_time(computation: float, *, lr: float, **options: Any) -> tuple[Stage, ...]:
    """Every second frame, then fine-tuning at full size; see `small_then_full`."""
    return small_then_full(computation, lr=lr, temporal_stride=2, **options)


def small_then_full(
    computation: float,
    *,
    lr: float,
    spatial_scale: float = 1.0,
    temporal_stride: int = 1,
    batch_scale: float = 1.0,
    falls_after: float = 0.75,
    **options: Any,
) -> tuple[Stage, ...]:
    """Training on clips of one small size, then on full-size ones at the fallen rate.

    What FixRes (Touvron et al. 2019) does for images, with the whole network fine-tuned.

    Args:
        computation: in full-size epochs.
        lr: of the run's batch.
        batch_scale: of the small clips, with the rate that goes with it (`scaled_rate`).
        falls_after: share of the computation that goes into small clips.
        options: further fields of every `Stage`.
    """
    small = Stage(
        name="small",
        spatial_scale=spatial_scale,
        temporal_stride=temporal_stride,
        batch_scale=batch_scale,
        epochs=1,
        lr=scaled_rate(lr, batch_scale, options.get("optimizer", "adam")),
        **options,
    )
    full = _full(lr * FALL, **options).changed(fresh_optimizer=False)
    return (
        _lasting(small, computation * falls_after),
        _lasting(full, computation * (1 - falls_after)),
    )


def _full(lr: float, **options: Any) -> Stage:
    return Stage(name="full", epochs=1, lr=lr, **options)


def _lasting(stage: Stage, cost: float) -> Stage:
    """For as many epochs as cost so much, in full-size ones."""
    return stage.changed(epochs=max(round(cost / stage.relative_cost()), 1))


def _falling(stages: Sequence[Stage], falls_after: float) -> tuple[Stage, ...]:
    """The rate falls after a share of all epochs."""
    ends = list(accumulate(stage.epochs for stage in stages))
    fall = round(falls_after * ends[-1])
    found = []
    for stage, end in zip(stages, ends, strict=True):
        start = end - stage.epochs
        if fall <= start:
            stage = stage.changed(lr=stage.lr * FALL)
        elif fall < end:
            stage = stage.changed(milestones=(fall - start,), gamma=FALL)
        found.append(stage)
    return tuple(found)
