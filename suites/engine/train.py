"""What a run does, from its spec to its row."""

import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from stdcf.complexity import count
from stdcf.data.clips.splits import VideoData
from stdcf.errors import UserError
from stdcf.layers.plan_book import copy_book
from stdcf.memory.cap import limit_gpu
from stdcf.memory.predict import predict_stages
from stdcf.memory.savers import parse_savers
from stdcf.memory.tracking.tracker import CapExceeded
from stdcf.stages.stage import total_cost
from stdcf.training.distributed import ALONE, Ranks, joined
from stdcf.training.history import History, Progress
from stdcf.training.trainer import Trainer
from stdcf.whole_file import write_atomically
from suites.engine import read_off, weights
from suites.engine.begun import begin
from suites.engine.catalog import build_model
from suites.engine.published_costs import predict_cost
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.store.provenance import header
from suites.engine.task import Run

# Of a stage that asks for it.
RECALIBRATED = ("recalibrated_accuracy", "recalibrated_video_accuracy")
CLASSES_FILE = "classes.txt"
_STATE_INTERVAL_SECONDS = 0.5


def train(run: Run) -> dict[str, Any]:
    """Trains and tests what the folder's spec says, from its checkpoint if there is one.

    After each stage the row of a run that would end there is written beside its weights, for the
    runs that are read off it (see `suites.engine.read_off`).

    Returns:
        The row's fields beyond `header`; none in a process that is not the run's first.

    Raises:
        SameAsUncapped: if its cap changes nothing, so that its row is the uncapped run's.
    """
    spec, folder, data = run.spec, run.folder, run.data()
    run.settle()
    if read_off.to_try(folder):
        _try_cap(run, data)
        run.settle()
    model = build_model(spec, len(data.classes), data.train.clip_shape[0])
    with joined(run.where, size=spec.ranks, sync_batchnorm=spec.sync_batchnorm) as ranks:
        rows = _Rows(run, data, begin(folder) if ranks.is_first else None)
        # The others look for a checkpoint once it is there.
        ranks.gather(True)
        _keep_plans(model, folder)
        rows.started_from = weights.start(model, spec, folder.path.parents[2], len(data.classes))
        if ranks.is_first:
            # Beside the weights, for who loads them without the data.
            write_atomically(folder.path / CLASSES_FILE, "\n".join(data.classes) + "\n")
        try:
            history = trained(run, model, data, ranks, on_stage=rows.stage_ended)
        except CapExceeded as error:
            error.facts = predictions(spec, data)
            raise
    return rows.row(spec, history) if ranks.is_first else {}


def _try_cap(run: Run, data: VideoData) -> None:
    from suites.engine.cap_probe import decide

    try:
        decide(run, data)
    except CapExceeded as error:
        error.facts = predictions(run.spec, data)
        raise


@dataclass
class _Rows:
    """Makes a run's row, and those of the runs that end with one of its stages."""

    run: Run
    data: VideoData
    begun_by: str | None
    started_from: str | None = None
    _known: dict[Any, dict[str, Any]] = field(default_factory=dict)

    def stage_ended(self, history: History) -> None:
        """Writes the row of the run as if this had been its last stage."""
        spec = self.run.spec
        ended = spec.changed(stages=spec.stages[: len(history.stages)])
        row = header(spec, self.run.device) | self.row(ended, history)
        read_off.write_stage(self.run.folder, ended.stages[-1].name, row, history.epochs)
        read_off.hand_on(self.run.folder)

    def row(self, spec: RunSpec, history: History) -> dict[str, Any]:
        """The fields beyond `header` after the spec's stages."""
        data, last = self.data, history.stages[-1]
        begun = {} if self.begun_by is None else {"begun_by": self.begun_by}
        return {
            "status": "ok",
            "reason": None,
            "accuracy": last["accuracy"],
            "video_accuracy": last["video_accuracy"],
            **{name: last[name] for name in RECALIBRATED if name in last},
            "test_clips": last["test_clips"],
            "test_videos": last["test_videos"],
            "video_top5": last["video_top5"],
            "broken_videos": history.broken,
            "videos": data.counts(history.broken),
            "frame_rates": list(data.frame_rates),
            "starts_from": spec.starts_from,
            "started_from": self.started_from,
            **begun,
            "batch_size": spec.batch_size,
            "cap_bytes": spec.cap_bytes,
            "train_clips": len(data.train),
            "train_shapes": _train_shapes(spec, data),
            "epochs_per_stage": spec.stages[0].epochs,
            "full_size_epochs": total_cost(spec.stages),
            "clip_shape": list(data.train.clip_shape),
            "classes": len(data.classes),
            "synthetic": data.synthetic,
            "notes": list(data.notes),
            "stages": history.stages,
            **measured(history),
            "train_seconds": sum(epoch["seconds"] for epoch in history.epochs),
            **self._predicted(spec),
        }

    def _predicted(self, spec: RunSpec) -> dict[str, Any]:
        """What is not measured; the same for all ends of the run that saw the same clips."""
        shape = self.data.train.clip_shape
        sizes = {
            (stage.clip_shape(shape), stage.batch_scale, stage.cycle, stage.dilation, stage.trains)
            for stage in spec.stages
        }
        # What is published is predicted stage by stage.
        key = spec.stages if spec.published is not None else frozenset(sizes)
        if key not in self._known:
            self._known[key] = predictions(spec, self.data)
        return self._known[key] | self._complexity

    @cached_property
    def _complexity(self) -> dict[str, Any]:
        return complexity(self.run.spec, self.data)


def trained(
    run: Run, model: nn.Module, data: VideoData, ranks: Ranks = ALONE, **options: Any
) -> History:
    """Trains a model by the run's stages under its cap; its curves are written however it ends.

    Args:
        options: further ones of `Trainer`.
    """
    spec, folder, savers = run.spec, run.folder, parse_savers(run.spec.savers)
    if spec.device == "cpu" and any(saver.compiles for saver in savers):
        raise UserError("saver budget needs --device cuda; on CPU nothing could hold it to a cap")
    if spec.cap_bytes is not None and run.on_gpu:
        limit_gpu(run.where, spec.cap_bytes)
    trainer = Trainer(
        model,
        data,
        spec.stages,
        batch_size=spec.batch_size,
        seed=spec.seed,
        numerics=run.numerics(data),
        folder=folder.path,
        num_workers=run.num_workers,
        savers=savers,
        cap_bytes=spec.cap_bytes,
        on_progress=_StateWriter(folder) if ranks.is_first else lambda _: None,
        should_stop=run.should_stop,
        ranks=ranks,
        **options,
    )
    try:
        return trainer.run()
    finally:
        # Also of a run that ends badly: where it went wrong is in its curves.
        if ranks.is_first:
            folder.write_curves(trainer.history.epochs)


def measured(history: History) -> dict[str, Any]:
    """A row's fields of the memory that training took."""
    reports = history.peaks
    largest: dict[str, Any] = max(
        reports.values(), key=lambda report: report["peak_bytes"], default={}
    )
    return {
        "stage_peak_bytes": {name: report["peak_bytes"] for name, report in reports.items()},
        "measured_peak_bytes": largest.get("peak_bytes"),
        "measured_reserved_bytes": largest.get("reserved_bytes"),
        "measured_by": largest.get("measured_by"),
    }


def _keep_plans(model: nn.Module, folder: RunFolder) -> None:
    """Has layers with plan="auto" choose what they chose when the run began, on every rank."""
    if any(getattr(module, "plan", None) == "auto" for module in model.modules()):
        path = folder.path / "plans.json"
        copy_book(path)
        os.environ["STDCF_PLANS"] = str(path)


def predictions(spec: RunSpec, data: VideoData) -> dict[str, Any]:
    """Predicted peaks of the run on its own device, on CUDA, and in the published setting."""
    channels, *size = data.train.clip_shape
    # What one device gets of a batch.
    shape = (-(-spec.batch_size // spec.ranks), channels, *size)
    classes = len(data.classes)
    if any(saver.compiles for saver in parse_savers(spec.savers)):
        return {"predicted_peak_bytes": None, "predicted_cuda_peak_bytes": None}
    row: dict[str, Any] = {
        "predicted_peak_bytes": predicted_peak(spec, shape, classes, spec.device),
        "predicted_cuda_peak_bytes": predicted_peak(spec, shape, classes, "cuda"),
    }
    if spec.published is not None and spec.published.counted_shape is not None:
        row |= predict_cost(spec).as_fields()
    elif spec.published is not None:
        shape, classes = spec.published.input_shape, spec.published.num_classes
        row["predicted_published_today_peak_bytes"] = predicted_peak(spec, shape, classes, "cuda")
        row["predicted_published_peak_bytes"] = predicted_peak(
            spec.as_published(), shape, classes, "cuda"
        )
    return row


def predicted_peak(spec: RunSpec, shape: tuple[int, ...], classes: int, device: str) -> int:
    """Largest peak of the run's stages in bytes, for full-size batches of `shape`."""
    reports = predict_stages(
        lambda: build_model(spec, classes, shape[1]),
        shape,
        spec.stages,
        device=device,
        optimizer=spec.stages[0].optimizer,
        autocast="bfloat16" if spec.amp else None,
        savers=spec.savers,
        memory_format="channels_last_3d" if device == "cpu" else None,
    )
    return max(report.peak_bytes for report in reports.values())


def complexity(spec: RunSpec, data: VideoData) -> dict[str, Any]:
    """Parameters and MACs of one full-size clip."""
    channels, *size = data.train.clip_shape
    found = count(build_model(spec, len(data.classes), channels), (1, channels, *size))
    return {
        "params": found.params,
        "macs": found.macs,
        "executed_macs": found.executed_macs,
        "fvcore_macs": found.fvcore_macs,
        "fvcore_unsupported": found.fvcore_unsupported,
    }


def _train_shapes(spec: RunSpec, data: VideoData) -> list[str]:
    shapes = (stage.clip_shape(data.train.clip_shape)[1:] for stage in spec.stages)
    return list(dict.fromkeys("×".join(map(str, shape)) for shape in shapes))


class _StateWriter:
    """Writes where training stands for `suites.status` and the runner, twice a second at most."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _STATE_INTERVAL_SECONDS
        self._folder.write_state(
            status="running",
            stage=progress.stage,
            epoch=progress.epoch + 1,
            epochs=progress.epochs,
            fraction=progress.fraction,
            clips_per_second=progress.clips_per_second,
        )
