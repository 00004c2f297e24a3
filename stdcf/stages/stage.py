"""A schedule is a list of stages; full-size learning has one, ITSL 2·E (§2.2, Algorithm 1)."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from stdcf.frozen import Frozen

Part = Literal["spatial", "temporal", "joint"]
ALL_PARTS: tuple[Part, ...] = ("spatial", "temporal", "joint")
Dilation = tuple[PositiveInt, PositiveInt]
Scale = Annotated[float, Field(gt=0, le=1)]
FrozenNorm = Literal["none", "but_first", "all"]


class Stage(Frozen):
    """One stretch of training on clips of one size.

    Attributes:
        name: shown in curves and logs; unique in a schedule.
        temporal_stride: γ; the clip's frames 0, γ, 2γ, … are kept.
        spatial_scale: 1/β; height and width are scaled by it (area interpolation).
        dilation: (temporal, spatial) while training.
        test_dilation: (temporal, spatial) while testing, always on full-size clips.
        batch_scale: clips of a step, as a factor of the run's batch.
        cycle: scales of `spatial_scale` that the steps of an epoch take in turn, each with so many
            more clips as they are smaller.
        norm_parts: parts of a training batch of which BatchNorm takes its statistics apart.
        trains: parts of each layer's filter that learn; the others are frozen. Biases,
            normalisation and the classifier are in no part and always learn.
        epochs: passes over the training clips.
        optimizer: "adam", "adamw" or "sgd" (momentum 0.9).
        nesterov: Nesterov's momentum ("sgd" alone).
        weight_decay: the optimiser's; None is its own default (0.01 for "adamw", else 0).
        no_decay: what is not decayed, of "bias", "norm" and "atoms".
        clip_norm: the norm to which the gradient of all parameters together is cut.
        fresh_optimizer: start with empty optimiser state; False goes on with the last stage's.
        lr: learning rate of the first epoch.
        atom_lr, bias_lr, head_lr: factors of the rate; see `stdcf.param_groups`.
        warmup_epochs: the first epochs, in which the rate rises linearly to `lr`.
        schedule: "step" falls at the milestones; "cosine" falls from `lr` towards 0 at the end.
        milestones: epochs from which the rate is multiplied by `gamma` once more ("step" alone).
        per_step: the rate follows warm-up and cosine from step to step; otherwise an epoch has one.
        warmup_start: the part of `lr` from which the warm-up rises (`per_step` alone).
        cosine_from_start: the cosine begins with the stage instead of after the warm-up, which
            then rises to the cosine's value at its end (`per_step` alone).
        frozen_norm: BatchNorm layers whose statistics and parameters stay as they are: "none",
            "all", or all "but_first" (partial BN, Wang et al., 2016).
        precise_batches: batches of training clips, drawn and seen as in training, whose statistics
            all together BatchNorm gets after the last epoch, before the test; 0 keeps the running
            ones.
        recalibrate: test a second time, with BatchNorm's statistics estimated anew on training
            clips at the size, dilation and dropout of the test.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    temporal_stride: PositiveInt = 1
    spatial_scale: Scale = 1.0
    dilation: Dilation = (1, 1)
    test_dilation: Dilation = (1, 1)
    batch_scale: PositiveFloat = 1.0
    cycle: Annotated[tuple[Scale, ...], Field(min_length=1)] = (1.0,)
    norm_parts: PositiveInt = 1
    trains: tuple[Part, ...] = ALL_PARTS
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    nesterov: bool = False
    weight_decay: NonNegativeFloat | None = None
    no_decay: tuple[Literal["bias", "norm", "atoms"], ...] = ()
    clip_norm: PositiveFloat | None = None
    fresh_optimizer: bool = True
    epochs: PositiveInt
    lr: PositiveFloat
    atom_lr: PositiveFloat = 1.0
    bias_lr: PositiveFloat = 1.0
    head_lr: PositiveFloat = 1.0
    warmup_epochs: NonNegativeInt = 0
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[PositiveInt, ...] = ()
    gamma: PositiveFloat = 0.1
    per_step: bool = False
    warmup_start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    cosine_from_start: bool = False
    frozen_norm: FrozenNorm = "none"
    precise_batches: NonNegativeInt = 0
    recalibrate: bool = False

    @model_validator(mode="after")
    def _rates_fit(self) -> "Stage":
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must ascend, not {self.milestones}")
        if self.schedule == "cosine" and self.milestones:
            raise ValueError(f"a cosine schedule takes no milestones, not {self.milestones}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} leave none of {self.epochs}")
        if (self.warmup_start or self.cosine_from_start) and not self.per_step:
            raise ValueError("warmup_start and cosine_from_start need per_step")
        if self.nesterov and self.optimizer != "sgd":
            raise ValueError(f"nesterov is for sgd, not {self.optimizer}")
        return self

    def lr_at(self, epoch: int, part: float = 0.0) -> float:
        """Learning rate of an epoch, counted from 0.

        Args:
            part: of the epoch that has passed, in [0, 1).
        """
        warmup = self.warmup_epochs
        if not self.per_step:
            if epoch < warmup:
                return self.lr * (epoch + 1) / (warmup + 1)
            return self._lr_without_warmup(epoch)
        if epoch < warmup:
            low, high = self.lr * self.warmup_start, self._lr_without_warmup(warmup)
            return low + (high - low) * (epoch + part) / warmup
        return self._lr_without_warmup(epoch + part)

    def _lr_without_warmup(self, epoch: float) -> float:
        if self.schedule == "cosine":
            start = 0 if self.cosine_from_start else self.warmup_epochs
            passed = (epoch - start) / (self.epochs - start)
            return self.lr * (1 + math.cos(math.pi * passed)) / 2
        return self.lr * self.gamma ** sum(epoch >= m for m in self.milestones)

    def clip_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape that this stage trains on, of a full-size clip or batch [..., T, H, W].

        Of a `cycle` the largest clips; of a batch [B, C, T, H, W] as many as fit `batch_scale`.
        """
        largest = max(self.cycle)
        scale = self.spatial_scale * largest
        *rest, t, h, w = shape
        if len(rest) == 2:
            rest[0] = self.batch_of(rest[0], largest)
        return (
            *rest,
            -(-t // self.temporal_stride),
            max(round(h * scale), 1),
            max(round(w * scale), 1),
        )

    def batch_of(self, batch_size: int, scale: float = 1.0) -> int:
        """Clips of a step of this stage in a run of so large a batch, at a scale of `cycle`."""
        return max(round(batch_size * self.batch_scale / scale**2), 1)

    def members(self) -> tuple["Stage", ...]:
        """The stage at each scale of its `cycle`, itself where there is one size."""
        if self.cycle == (1.0,):
            return (self,)
        return tuple(
            self.changed(
                spatial_scale=self.spatial_scale * scale,
                batch_scale=self.batch_scale / scale**2,
                cycle=(1.0,),
            )
            for scale in self.cycle
        )

    def relative_cost(self) -> float:
        """Computation of one clip against the full-size one's: spatial_scale² / temporal_stride.

        Of a `cycle` the mean over its clips.
        """
        clips = sum(scale**-2 for scale in self.cycle)
        return self.spatial_scale**2 / self.temporal_stride * len(self.cycle) / clips


def full_size(
    *,
    epochs: int,
    lr: float,
    milestones: Sequence[int] = (),
    dilation: Dilation = (1, 1),
    **options: Any,
) -> tuple[Stage, ...]:
    """One stage on full-size clips, trained and tested at the same dilation.

    Args:
        options: further fields of `Stage`.
    """
    return (
        Stage(
            name="full",
            epochs=epochs,
            lr=lr,
            milestones=tuple(milestones),
            dilation=dilation,
            test_dilation=dilation,
            **options,
        ),
    )


def itsl(
    iterations: int,
    *,
    epochs: int,
    lr: float,
    milestones: Sequence[int] = (),
    beta: int = 2,
    gamma: int = 2,
    **options: Any,
) -> tuple[Stage, ...]:
    """Iterative two-stage learning (Algorithm 1 with §2.3's dilations), one setting for all stages.

    Stage-t trains φ and α on full-time clips of size H/β × W/β, temporal atoms dilated by γ;
    stage-s trains ψ and α on full-size clips of T/γ frames, spatial atoms dilated by β. Tests are
    on full-size clips with both dilated.

    Args:
        options: further fields of every `Stage`.

    Raises:
        ValueError: for iterations, beta or gamma below 1.
    """
    if min(iterations, beta, gamma) < 1:
        raise ValueError(
            f"iterations, beta and gamma must be at least 1, not {iterations}, {beta} and {gamma}"
        )
    stages: list[Stage] = []
    for e in range(1, iterations + 1):
        stages.append(
            Stage(
                name=f"t{e}",
                spatial_scale=1 / beta,
                dilation=(gamma, 1),
                test_dilation=(gamma, beta),
                trains=("temporal", "joint"),
                epochs=epochs,
                lr=lr,
                milestones=tuple(milestones),
                **options,
            )
        )
        stages.append(
            Stage(
                name=f"s{e}",
                temporal_stride=gamma,
                dilation=(1, beta),
                test_dilation=(gamma, beta),
                trains=("spatial", "joint"),
                epochs=epochs,
                lr=lr,
                milestones=tuple(milestones),
                **options,
            )
        )
    return tuple(stages)


def total_cost(stages: Sequence[Stage]) -> float:
    """Computation of a schedule in full-size epochs (ITSL at E=3: 2.25 times full size's)."""
    return sum(stage.epochs * stage.relative_cost() for stage in stages)
