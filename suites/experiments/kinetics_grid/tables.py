"""The ablation on Kinetics-400 as text: what is predicted of every point, and what came out."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from suites.engine.spec import RunSpec
from suites.engine.suite import Row
from suites.experiments.kinetics_grid.gpu_hours import NOTE, Shape, gpu_hours
from suites.experiments.kinetics_grid.points import GIB, Point, points
from suites.experiments.shared.video_systems import CHANNELS, SIZE
from suites.reporting import cells
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

if TYPE_CHECKING:
    from torch import nn

CLASSES = 400
CLIP: Shape = (CHANNELS, 8, SIZE, SIZE)
TEST_CLIP: Shape = (CHANNELS, 8, 256, 256)

_POINT_COLUMNS = ["Layer", "M, N", "E", "β", "γ", "Dilated", "Cap, GiB"]


def plan(specs: Sequence[RunSpec]) -> list[Table]:
    """Memory and time of every point, in the paper's setting and without data."""
    by_mode = _points_by_mode()
    body, hours_of_all = [], 0.0
    predictor = Predictor()
    for spec in specs:
        peak, hours = predictor.peak_bytes(spec), predictor.hours(spec)
        fits = spec.cap_bytes is None or peak <= spec.cap_bytes
        hours_of_all += hours if fits else 0
        if spec.seed > 0:
            continue
        seeds = sum(other.mode == spec.mode and other.layer == spec.layer for other in specs)
        body.append(
            [
                *_describe(by_mode[spec.layer, spec.mode], spec.cap_bytes),
                str(seeds),
                f"{peak / GIB:.2f}",
                "" if spec.cap_bytes is None else "yes" if fits else "no",
                f"{hours:,.0f}" if fits else "0: ends at once",
            ]
        )
    return [
        Table(
            title=f"kinetics_grid: {len(body)} points, {len(specs)} runs, about "
            f"{hours_of_all:,.0f} GPU-hours (ESTIMATE)",
            columns=[
                *_POINT_COLUMNS,
                "Seeds",
                "Predicted peak, GiB",
                "Fits",
                "GPU-hours a run, est.",
            ],
            rows=body,
            notes=[
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
    body = []
    for key, point in by_mode.items():
        group = groups.get(key)
        if not group:
            continue
        first = next((row for row in group if row["status"] == "ok"), None)
        body.append(
            [
                *_describe(point, group[0].get("cap_bytes") or point.cap_bytes),
                str(sum(row["status"] == "ok" for row in group)),
                cells.percent(group, "video_accuracy"),
                cells.percent(group, "video_top5") if first else "–",
                cells.mib(first["predicted_peak_bytes"] if first else None),
                cells.mib(first["measured_peak_bytes"] if first else None),
                f"{first['train_seconds'] / 3600:.2f}" if first else "–",
            ]
        )
    return [
        Table(
            title=f"kinetics_grid: {len(body)} of {len(by_mode)} points ({describe(rows)})",
            columns=[
                *_POINT_COLUMNS,
                "n",
                "Top-1, %",
                "Top-5, %",
                "Peak, pred., MiB",
                "Peak, meas., MiB",
                "Hours",
            ],
            rows=body,
            notes=provenance_notes(rows),
        )
    ]


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


def _describe(point: Point, cap_bytes: int | None) -> list[str]:
    is_full = point.iterations is None
    return [
        point.layer,
        "" if point.atoms is None else "{}, {}".format(*point.atoms),
        "full size" if is_full else str(point.iterations),
        "" if is_full else str(point.beta),
        "" if is_full else str(point.gamma),
        "" if is_full else "yes" if point.dilated else "no",
        "none" if cap_bytes is None else f"{cap_bytes / GIB:g}",
    ]
