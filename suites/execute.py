"""What a run does, from its spec to its row."""

import platform
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from stdcf.complexity import count
from stdcf.data.splits import VideoData
from stdcf.errors import UserError
from stdcf.memory.predict import predict_stages
from stdcf.training.step import Numerics
from stdcf.training.trainer import Progress, Trainer
from suites.catalog import build, load_dataset
from suites.provenance import provenance
from suites.spec import RunSpec
from suites.store import RunFolder

_STATE_INTERVAL_SECONDS = 0.5


def header(spec: RunSpec, device: str) -> dict[str, Any]:
    """The fields that every row has, however the run ended."""
    return {
        "suite": spec.suite,
        "profile": spec.profile,
        "dataset": spec.dataset,
        "model": spec.model,
        "layer": spec.layer,
        "mode": spec.mode,
        "seed": spec.seed,
        # Known before the data is; a video_folder of generated files says so only when it is read.
        "synthetic": spec.dataset == "synthetic_actions",
        "run_id": spec.run_id,
        "epochs_override": spec.epochs_override,
        "manifest": spec.manifest,
        "dtype": "bfloat16 autocast" if spec.amp else "float32",
        "threads": spec.threads,
        "host": platform.node(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **provenance(device),
    }


def build_model(spec: RunSpec, num_classes: int, in_channels: int) -> nn.Module:
    """The spec's model for clips with these classes and channels."""
    return build(
        spec.model,
        num_classes=num_classes,
        in_channels=in_channels,
        layer=spec.layer,
        layer_options=spec.layer_options,
        **spec.model_options,
    )


def train(
    folder: RunFolder,
    *,
    data_root: str | None,
    device: str,
    num_workers: int,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Trains and tests what the folder's spec says, from its checkpoint if there is one.

    Returns:
        The row's fields beyond `header`.
    """
    spec = folder.spec()
    torch.set_num_threads(spec.threads)
    data = load_dataset(spec.dataset, data_root, **spec.dataset_options)
    if data.manifest != spec.manifest:
        raise UserError(
            f"the clips of {spec.dataset} are not those that this run was made for; "
            "start the suite again to make runs for the present ones"
        )
    channels = data.train.clip_shape[0]
    torch.manual_seed(spec.seed)
    model = build_model(spec, len(data.classes), channels)
    # The faster layout for float32 on CPU.
    numerics = Numerics(torch.device(device), spec.amp, channels_last=spec.device == "cpu")
    trainer = Trainer(
        model,
        data,
        spec.stages,
        batch_size=spec.batch_size,
        seed=spec.seed,
        numerics=numerics,
        folder=folder.path,
        num_workers=num_workers,
        cap_bytes=spec.cap_bytes,
        on_progress=_StateWriter(folder),
        should_stop=should_stop,
    )
    try:
        history = trainer.run()
    finally:
        # Also of a run that ends badly: where it went wrong is in its curves.
        folder.write_curves(trainer.history.epochs)
    peaks = {name: report["peak_bytes"] for name, report in history.peaks.items()}
    largest = max(history.peaks.values(), key=lambda report: report["peak_bytes"], default=None)
    last = history.stages[-1]
    return {
        "status": "ok",
        "reason": None,
        "accuracy": last["accuracy"],
        "video_accuracy": last["video_accuracy"],
        "test_clips": last["test_clips"],
        "test_videos": last["test_videos"],
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


def predictions(spec: RunSpec, data: VideoData) -> dict[str, Any]:
    """Predicted peaks of the run on its own device, on CUDA, and in the published setting."""
    channels, *size = data.train.clip_shape
    shape = (spec.batch_size, channels, *size)
    classes = len(data.classes)
    row: dict[str, Any] = {
        "predicted_peak_bytes": _predicted_peak(spec, shape, classes, spec.device),
        "predicted_cuda_peak_bytes": _predicted_peak(spec, shape, classes, "cuda"),
    }
    if spec.published is not None:
        shape, classes = spec.published.input_shape, spec.published.num_classes
        as_published = spec.model_copy(
            update={"model_options": {**spec.model_options, **spec.published.model_options}}
        )
        row["predicted_published_today_peak_bytes"] = _predicted_peak(spec, shape, classes, "cuda")
        row["predicted_published_peak_bytes"] = _predicted_peak(
            as_published, shape, classes, "cuda"
        )
    return row


def _predicted_peak(spec: RunSpec, shape: tuple[int, ...], classes: int, device: str) -> int:
    reports = predict_stages(
        lambda: build_model(spec, classes, shape[1]),
        shape,
        spec.stages,
        device=device,
        optimizer=spec.stages[0].optimizer,
        autocast="bfloat16" if spec.amp else None,
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
