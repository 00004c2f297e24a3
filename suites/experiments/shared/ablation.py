"""Ablations: runs that each change one thing of Table 2's STDCF trained by ITSL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stdcf.errors import UserError
from stdcf.stages.stage import Stage
from suites.engine.spec import RunSpec
from suites.engine.suite import Request
from suites.experiments.kth_table2.suite import LAYER_OPTIONS, PROFILES, dataset_options


@dataclass(frozen=True)
class Setting:
    """One row of an ablation.

    Attributes:
        stages: how it is trained.
        layer_options, model_options: beyond Table 2's.
    """

    stages: tuple[Stage, ...]
    layer_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)


# Beside Table 2's, with 12 runs a seed, so many runs must be shorter to be done in minutes.
_QUICK_EPOCHS = 2


def epochs_of(request: Request) -> int:
    """Of a stage: what was asked for, else the profile's."""
    return request.epochs or (
        _QUICK_EPOCHS if request.profile == "quick" else PROFILES[request.profile].epochs
    )


def milestones(request: Request, epochs: int) -> tuple[int, ...]:
    """The rate falls after the same part of a stage's epochs as in Table 2."""
    fall = int(epochs * PROFILES[request.profile].rate_falls_after)
    return (fall,) if fall else ()


def specs(
    suite: str, request: Request, manifest: str, settings: Mapping[str, Setting]
) -> list[RunSpec]:
    """Every setting for the first seed, then for the next; settings in the order of their value."""
    profile = PROFILES[request.profile]
    seeds = profile.seeds if request.seeds is None else request.seeds
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {seeds}")
    own = dict(request.layer_options.get("stdcf", {}))
    return [
        RunSpec(
            suite=suite,
            profile=request.profile,
            dataset=request.dataset,
            dataset_options=dataset_options(request),
            manifest=manifest,
            model="kth_cnn",
            layer="stdcf",
            model_options={**request.model_options, **setting.model_options},
            layer_options={**LAYER_OPTIONS["stdcf"], **own, **setting.layer_options},
            mode=mode,
            stages=setting.stages,
            seed=seed,
            batch_size=profile.batch_size,
            amp=request.amp,
            device="cuda" if request.device.startswith("cuda") else "cpu",
            epochs_override=request.epochs,
            overrides=request.overrides,
            cap_bytes=request.cap_bytes,
        )
        for seed in range(seeds)
        for mode, setting in settings.items()
    ]
