"""The networks of Tables 3 and 4, how each is fed, and the runs that this makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stdcf.stages.stage import Stage
from suites.engine.spec import PublishedSetting, RunSpec
from suites.engine.suite import Request

CHANNELS = 3
KINETICS = ("kinetics400", "kinetics600", "kinetics700")
SIZE = 224
# §3.2.1: M=6, N=2; composing the filter is the plan whose memory is the paper's.
STDCF: dict[str, Any] = {"num_spatial_atoms": 6, "num_temporal_atoms": 2, "plan": "composed"}
# Clips for which memory is predicted; the paper does not state its number. With 8 the networks of
# others come nearest to its figures.
MEMORY_BATCH = 8
# These are built for a number of frames.
_COUNT_FRAMES = frozenset({"tin_r50", "trn_r50"})


@dataclass(frozen=True)
class System:
    """A network and how it is fed.

    Attributes:
        frames, interval: of its clips, where they are not the data set's own 8 at 8.
        counted_size: height and width of the clip whose GFLOPs are published.
        starts_from: see `RunSpec`.
        layer_options: where they are not the paper's.
    """

    model: str
    layer: str = ""
    frames: int = 8
    interval: int = 8
    counted_size: int = SIZE
    starts_from: str | None = None
    layer_options: Mapping[str, Any] = field(default_factory=dict)


def make_spec(
    system: System,
    request: Request,
    *,
    suite: str,
    manifest: str,
    mode: str,
    stages: Sequence[Stage],
    seed: int,
    batch_size: int,
    data_options: Mapping[str, Any],
    num_classes: int | None = None,
    cap_bytes: int | None = None,
    model_options: Mapping[str, Any] | None = None,
) -> RunSpec:
    """A run of a system.

    Args:
        data_options: of an 8-frame system.
        model_options: over which the request's go.
        num_classes: of the published row; None if there is none.
        cap_bytes: where the request has none.
    """
    options = {**data_options}
    if (system.frames, system.interval) != (8, 8):
        options |= {"frames": system.frames, "interval": system.interval}
    frames = options.get("frames", system.frames)
    return request.spec(
        suite,
        manifest,
        dataset_options=options,
        model=system.model,
        layer=system.layer,
        model_options={**(model_options or {}), **_model_options(request, system, frames)},
        layer_options=_layer_options(request, system),
        mode=mode,
        stages=tuple(stages),
        seed=seed,
        batch_size=batch_size,
        cap_bytes=request.cap_bytes or cap_bytes,
        starts_from=system.starts_from,
        published=None if num_classes is None else _published(system, num_classes),
    )


def _published(system: System, num_classes: int) -> PublishedSetting:
    return PublishedSetting(
        input_shape=(MEMORY_BATCH, CHANNELS, system.frames, SIZE, SIZE),
        counted_shape=(1, CHANNELS, system.frames, system.counted_size, system.counted_size),
        num_classes=num_classes,
        model_options={"num_frames": system.frames} if system.model in _COUNT_FRAMES else {},
    )


def clip(frames: int, size: int = SIZE) -> str:
    """As it is shown, 8×224²."""
    return f"{frames}×{size}²"


def _model_options(request: Request, system: System, frames: int) -> dict[str, Any]:
    """NAME=VALUE is every model's, MODEL.NAME=VALUE one model's."""
    options: dict[str, Any] = {"num_frames": frames} if system.model in _COUNT_FRAMES else {}
    for name, value in request.model_options.items():
        model, dot, own = name.rpartition(".")
        if not dot or model == system.model:
            options[own] = value
    return options


def _layer_options(request: Request, system: System) -> dict[str, Any]:
    own = STDCF if system.layer == "stdcf" else {}
    return {**own, **system.layer_options, **request.layer_options.get(system.layer, {})}
