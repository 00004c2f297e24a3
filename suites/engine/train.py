"""What a run does, from its spec to its row."""

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from stdcf.complexity import count
from stdcf.data.clips.splits import VideoData
from stdcf.errors import UserError
from stdcf.layers.plan_book import copy_book
from stdcf.memory.cap import limit_gpu
from stdcf.memory.predict import predict_stages
from stdcf.memory.savers import parse_savers
from stdcf.memory.tracking.tracker import CapExceeded
from stdcf.training.distributed import joined
from stdcf.training.history import Progress
from stdcf.training.step import Numerics
from stdcf.training.trainer import Trainer
from stdcf.whole_file import write_atomically
from suites.engine import weights
from suites.engine.catalog import build_model, load_dataset
from suites.engine.published_costs import predict_cost
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder

# Of a stage that asks for it.
RECALIBRATED = ("recalibrated_accuracy", "recalibrated_video_accuracy")
CLASSES_FILE = "classes.txt"
_STATE_INTERVAL_SECONDS = 0.5


def open_data(spec: RunSpec, data_root: str | None) -> VideoData:
    """The clips that the run was made for.

    Raises:
        UserError: if they are not there, or are others by now.
    """
    data = load_dataset(spec.dataset, data_root, **spec.dataset_options)
    if data.manifest != spec.manifest:
        raise UserError(
            f"the clips of {spec.dataset} are not those that this run was made for; "
            "start the suite again to make runs for the present ones"
        )
    return data


def numerics_of(spec: RunSpec, data: VideoData, device: str) -> Numerics:
    """How the run's numbers are held on a device."""
    return Numerics(
        torch.device(device),
        spec.amp,
        # The faster layout for float32 on CPU.
        channels_last=spec.device == "cpu",
        pixels=data.pixels,
    )


def train(
    folder: RunFolder,
    *,
    data_root: str | None,
    device: str,
    num_workers: int | None,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Trains and tests what the folder's spec says, from its checkpoint if there is one.

    Returns:
        The row's fields beyond `header`; none in a process that is not the run's first.
    """
    spec = folder.spec()
    torch.set_num_threads(spec.threads)
    data = open_data(spec, data_root)
    channels = data.train.clip_shape[0]
    torch.manual_seed(spec.seed)
    model = build_model(spec, len(data.classes), channels)
    _keep_plans(model, folder)
    started_from = weights.start(model, spec, folder.path.parents[2], len(data.classes))
    numerics = numerics_of(spec, data, device)
    savers = parse_savers(spec.savers)
    if spec.device == "cpu" and any(saver.compiles for saver in savers):
        raise UserError("saver budget needs --device cuda; on CPU nothing could hold it to a cap")
    if spec.cap_bytes is not None and numerics.device.type == "cuda":
        limit_gpu(numerics.device, spec.cap_bytes)
    with joined(numerics.device, size=spec.ranks, sync_batchnorm=spec.sync_batchnorm) as ranks:
        trainer = Trainer(
            model,
            data,
            spec.stages,
            batch_size=spec.batch_size,
            seed=spec.seed,
            numerics=numerics,
            folder=folder.path,
            num_workers=num_workers,
            savers=savers,
            cap_bytes=spec.cap_bytes,
            on_progress=_StateWriter(folder) if ranks.is_first else lambda _: None,
            should_stop=should_stop,
            ranks=ranks,
        )
        if ranks.is_first:
            # Beside the weights, for who loads them without the data.
            write_atomically(folder.path / CLASSES_FILE, "\n".join(data.classes) + "\n")
        try:
            history = trainer.run()
        except CapExceeded as error:
            error.facts = predictions(spec, data)
            raise
        finally:
            # Also of a run that ends badly: where it went wrong is in its curves.
            if ranks.is_first:
                folder.write_curves(trainer.history.epochs)
    if not ranks.is_first:
        return {}
    peaks = {name: report["peak_bytes"] for name, report in history.peaks.items()}
    largest = max(history.peaks.values(), key=lambda report: report["peak_bytes"], default=None)
    last = history.stages[-1]
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
        "starts_from": spec.starts_from,
        "started_from": started_from,
        "batch_size": spec.batch_size,
        "cap_bytes": spec.cap_bytes,
        "train_clips": len(data.train),
        "train_shapes": _train_shapes(spec, data),
        "epochs_per_stage": spec.stages[0].epochs,
        "clip_shape": list(data.train.clip_shape),
        "classes": len(data.classes),
        "synthetic": data.synthetic,
        "notes": list(data.notes),
        "stages": history.stages,
        "stage_peak_bytes": peaks,
        "measured_peak_bytes": largest["peak_bytes"] if largest else None,
        "measured_reserved_bytes": largest["reserved_bytes"] if largest else None,
        "measured_by": largest["measured_by"] if largest else None,
        "train_seconds": sum(epoch["seconds"] for epoch in history.epochs),
        **predictions(spec, data),
        **complexity(spec, data),
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
