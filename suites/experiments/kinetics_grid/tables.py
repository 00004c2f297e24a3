"""The ablation on Kinetics-400 as text: what is predicted of every point, and what came out."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from suites.engine.spec import RunSpec
from suites.engine.suite import Row
from suites.experiments.kinetics_grid.gpu_hours import NOTE, Shape, gpu_hours
from suites.experiments.kinetics_grid.points import GIB, Point, points
from suites.experiments.shared.video_systems import CHANNELS, SIZE
from suites.reporting import columns
from suites.reporting.columns import Column, Line
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

if TYPE_CHECKING:
    from torch import nn

CLASSES = 400
CLIP: Shape = (CHANNELS, 8, SIZE, SIZE)
TEST_CLIP: Shape = (CHANNELS, 8, 256, 256)


@dataclass(frozen=True)
class _Planned:
    """A point, how many seeds it has, and what is predicted of it."""

    point: Point
    cap_bytes: int | None
    seeds: int
    peak_bytes: int
    hours: float

    @property
    def fits(self) -> bool:
        return self.cap_bytes is None or self.peak_bytes <= self.cap_bytes


@dataclass(frozen=True)
class _Ran(Line):
    """The runs of a point, which is the line's key."""

    @property
    def point(self) -> Point:
        point: Point = self.key
        return point

    @property
    def cap_bytes(self) -> int | None:
        return self.rows[0].get("cap_bytes") or self.point.cap_bytes


def _itsl(head: str, text: Callable[[Point], str], full: str = "") -> Column[_Planned | _Ran]:
    return Column(head, lambda x: full if x.point.iterations is None else text(x.point))


_POINT: list[Column[_Planned | _Ran]] = [
    Column("Layer", lambda x: x.point.layer),
    Column("M, N", lambda x: "{}, {}".format(*x.point.atoms) if x.point.atoms else ""),
    _itsl("E", lambda point: str(point.iterations), full="full size"),
    _itsl("β", lambda point: str(point.beta)),
    _itsl("γ", lambda point: str(point.gamma)),
    _itsl("Dilated", lambda point: "yes" if point.dilated else "no"),
    Column("Cap, GiB", lambda x: "none" if x.cap_bytes is None else f"{x.cap_bytes / GIB:g}"),
]
_PLAN: list[Column[_Planned]] = [
    *_POINT,
    Column("Seeds", lambda x: str(x.seeds)),
    Column("Predicted peak, GiB", lambda x: f"{x.peak_bytes / GIB:.2f}"),
    Column("Fits", lambda x: "" if x.cap_bytes is None else "yes" if x.fits else "no"),
    Column("GPU-hours a run, est.", lambda x: f"{x.hours:,.0f}" if x.fits else "0: ends at once"),
]
_RESULTS: list[Column[_Ran]] = [
    *_POINT,
    columns.count(),
    columns.percent("Top-1, %", "video_accuracy"),
    columns.more_percent("Top-5, %", "video_top5"),
    columns.mib("Peak, pred., MiB", "predicted_peak_bytes"),
    columns.mib("Peak, meas., MiB", "measured_peak_bytes"),
    columns.first("Hours", lambda row: f"{row['train_seconds'] / 3600:.2f}"),
]


def plan(specs: Sequence[RunSpec]) -> list[Table]:
    """Memory and time of every point, in the paper's setting and without data."""
    by_mode = _points_by_mode()
    seeds = Counter((spec.layer, spec.mode) for spec in specs)
    predictor = Predictor()
    lines, hours = [], 0.0
    for spec in specs:
        key = (spec.layer, spec.mode)
        predicted = predictor.peak_bytes(spec), predictor.hours(spec)
        line = _Planned(by_mode[key], spec.cap_bytes, seeds[key], *predicted)
        hours += line.hours if line.fits else 0
        if spec.seed == 0:
            lines.append(line)
    return [
        columns.table(
            f"kinetics_grid: {len(lines)} points, {len(specs)} runs, about "
            f"{hours:,.0f} GPU-hours (ESTIMATE)",
            _PLAN,
            lines,
            [
                f"peak: a training step of {specs[0].batch_size} clips on one CUDA device, the "
                "largest stage's; all tensors alive, without cuDNN's workspace",
                NOTE,
            ],
        )
    ]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy and memory of every point that has run."""
    by_mode = _points_by_mode()
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["mode"]), []).append(row)
    lines = [_Ran(groups[key], point) for key, point in by_mode.items() if key in groups]
    title = f"kinetics_grid: {len(lines)} of {len(by_mode)} points ({describe(rows)})"
    return [columns.table(title, _RESULTS, lines, provenance_notes(rows))]


class Predictor:
    """Memory and multiply-accumulates of the grid's networks, each found once.

    Stages that differ in their dilation alone need the same: padding follows it, so sizes stay.
    """

    def __init__(self) -> None:
        self._macs: Callable[[str, Shape], int] = cache(_macs)
        self._peaks: dict[str, int] = {}

    def hours(self, spec: RunSpec) -> float:
        """Estimated GPU-hours on all of Kinetics-400."""
        network = _network(spec)
        return gpu_hours(spec.stages, lambda shape: self._macs(network, shape), CLIP, TEST_CLIP)

    def peak_bytes(self, spec: RunSpec) -> int:
        """The largest stage's."""
        from stdcf.memory.predict import predict_peak

        peaks = []
        for stage in spec.stages:
            plain = stage.changed(dilation=(1, 1))
            what = [plain.clip_shape(CLIP), plain.trains, spec.batch_size, spec.amp]
            key = f"{_network(spec)} {what}"
            if key not in self._peaks:
                report = predict_peak(
                    lambda: _build(_network(spec)),
                    (spec.batch_size, *CLIP),
                    stage=plain,
                    optimizer=plain.optimizer,
                    autocast="bfloat16" if spec.amp else None,
                    device="cuda",
                )
                self._peaks[key] = report.peak_bytes
            peaks.append(self._peaks[key])
        return max(peaks)


def _network(spec: RunSpec) -> str:
    return json.dumps([spec.model, spec.layer, spec.layer_options, spec.model_options])


def _build(network: str) -> "nn.Module":
    from suites.engine.catalog import build

    model, layer, layer_options, model_options = json.loads(network)
    return build(
        model,
        num_classes=CLASSES,
        in_channels=CHANNELS,
        layer=layer,
        layer_options=layer_options,
        **model_options,
    )


def _macs(network: str, clip: Shape) -> int:
    import torch

    from stdcf.complexity import count

    with torch.random.fork_rng(devices=()):
        return count(_build(network), (1, *clip), fvcore=False).executed_macs


def _points_by_mode() -> dict[tuple[str, str], Point]:
    return {(point.layer, point.mode): point for point in points()}
