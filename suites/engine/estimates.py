"""What a run will need, before it runs: memory, computation and time."""

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stdcf.complexity import count
from stdcf.data.clips.splits import VideoData
from stdcf.stages.stage import Stage, total_cost
from suites.engine.catalog import DATASETS, build_model
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Row
from suites.engine.train import predicted_peak

# A training step computes the forward pass, the gradients of activations and those of weights.
_TRAIN_PASSES = 3
_OPERATIONS_A_MAC = 2
# Sustained while training, where nothing was measured: one data-centre GPU, with and without
# bfloat16, and one CPU core.
_TERAFLOPS = {
    ("cuda", True): 40.0,
    ("cuda", False): 10.0,
    ("cpu", True): 0.02,
    ("cpu", False): 0.02,
}
# Of the GPUs that are sold, in GiB.
GPU_SIZES_GIB = (4, 6, 8, 10, 11, 12, 16, 24, 32, 40, 48, 80, 94, 141, 180)
# CUDA's context, cuDNN's workspaces and the allocator's rounding, over the predicted tensors.
_GPU_RESERVE_BYTES = 1.0 * 2**30
_GPU_MARGIN = 1.1

# Classes, training and test clips (or videos) of whole sets, for plans that open no data.
_WHOLE_SETS = {
    "kinetics400": (400, 240_000, 20_000),
    "something_v1": (174, 86_017, 11_522),
    "something_v2": (174, 168_913, 24_777),
    "kinetics600": (600, 390_000, 30_000),
    "kinetics700": (700, 545_000, 35_000),
    "jester": (27, 118_562, 14_787),
    "diving48": (48, 15_000, 2_000),
    "epic100": (97, 67_217, 9_668),
    "kth": (6, 9_000, 5_000),
    "weizmann": (10, 720, 148),
    "jhmdb": (21, 4_741, 751),
    "ucf101": (101, 400_000, 45_000),
    "hmdb51": (51, 70_000, 9_000),
    "synthetic_actions": (6, 576, 288),
}
_UNKNOWN_SET = (10, 1_000, 300)


@dataclass(frozen=True)
class ClipFacts:
    """What decides a run's cost beside its spec.

    Attributes:
        clip_shape: (C, T, H, W) of a training clip.
        test_passes: forward passes of the test, counted in training clips.
        assumed: not read from the data.
    """

    clip_shape: tuple[int, int, int, int]
    classes: int
    train_clips: int
    test_passes: float
    assumed: bool = False


def facts_of(data: VideoData) -> ClipFacts:
    """Of data that is open."""
    shape = data.train.clip_shape
    pixels = math.prod(data.test.clip_shape) / math.prod(shape)
    views = getattr(data.test, "num_views", 1)
    return ClipFacts(shape, len(data.classes), len(data.train), len(data.test) * views * pixels)


def assumed_facts(spec: RunSpec) -> ClipFacts:
    """Of the whole set by its name, for a plan that opens no data."""
    signature = inspect.signature(DATASETS[spec.dataset])
    options: Mapping[str, Any] = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    options = {**options, **spec.dataset_options}
    classes, train, test = _WHOLE_SETS.get(spec.dataset, _UNKNOWN_SET)
    if options.get("size") is not None:
        height, width = options["size"]
        shape = (options["channels"], options["clip_frames"], height, width)
        return ClipFacts(shape, classes, train, test, assumed=True)
    crop = options["crop"]
    views = options["test_clips"] * options["test_crops"] * (options["test_crop"] / crop) ** 2
    shape = (3, options["frames"], crop, crop)
    return ClipFacts(shape, classes, train, test * views, assumed=True)


class Estimates:
    """Of many runs; what they share, a network or a stage, is computed once.

    Args:
        rows: earlier results, whose speed counts more than any assumption.
        teraflops: that a device sustains, where nothing was measured.
    """

    def __init__(self, rows: Sequence[Row] = (), teraflops: float | None = None) -> None:
        self._rows, self._teraflops = rows, teraflops
        self._known: dict[str, Any] = {}
        self._measured: dict[tuple[str, str, str], float] | None = None

    def peak_bytes(self, spec: RunSpec, facts: ClipFacts, device: str) -> int | None:
        """Predicted peak of one device's tensors; None of a run that does not train."""
        if not spec.is_training:
            return None
        return max(self._stage_bytes(spec, stage, facts, device) for stage in spec.stages)

    def _stage_bytes(self, spec: RunSpec, stage: Stage, facts: ClipFacts, device: str) -> int:
        shape = (-(-spec.batch_size // spec.ranks), *facts.clip_shape)
        # Padding follows dilation, so that sizes stay, and memory with them.
        plain = stage.changed(dilation=(1, 1))
        what = [
            device,
            shape,
            plain.clip_shape(shape),
            plain.trains,
            plain.optimizer,
            plain.frozen_norm,
        ]
        key = _key(spec, facts, *what, spec.amp, spec.savers)
        if key not in self._known:
            alone = spec.changed(stages=(plain,))
            self._known[key] = predicted_peak(alone, shape, facts.classes, device)
        found: int = self._known[key]
        return found

    def smallest_gpu_gib(self, spec: RunSpec, facts: ClipFacts) -> int | None:
        """Of the usual sizes the smallest that holds a run; None if none does."""
        peak = self.peak_bytes(spec, facts, "cuda")
        if peak is None:
            return GPU_SIZES_GIB[0]
        needed = _GPU_MARGIN * peak + _GPU_RESERVE_BYTES
        return next((size for size in GPU_SIZES_GIB if size * 2**30 >= needed), None)

    def seconds(self, spec: RunSpec, facts: ClipFacts) -> float | None:
        """Time of training and its tests on the run's devices; None where it cannot be told."""
        operations = self._operations(spec, facts)
        if operations is None:
            return None
        rate = self._rate(spec)
        return operations / (rate * spec.ranks)

    def is_measured(self, spec: RunSpec) -> bool:
        """Whether `seconds` rests on a result rather than on an assumed speed."""
        return (spec.model, spec.layer, spec.device) in self._rates()

    def _operations(self, spec: RunSpec, facts: ClipFacts) -> float | None:
        if not spec.is_training:
            return None
        key = _key(spec, facts, "macs")
        if key not in self._known:
            model = build_model(spec, facts.classes, facts.clip_shape[0])
            self._known[key] = count(model, (1, *facts.clip_shape)).executed_macs
        clips = _TRAIN_PASSES * total_cost(spec.stages) * facts.train_clips
        clips += len(spec.stages) * facts.test_passes
        found: float = _OPERATIONS_A_MAC * self._known[key] * clips
        return found

    def _rate(self, spec: RunSpec) -> float:
        """Operations a second of one device."""
        measured = self._rates().get((spec.model, spec.layer, spec.device))
        if measured is not None:
            return measured
        return 1e12 * (self._teraflops or _TERAFLOPS[spec.device, spec.amp])

    def _rates(self) -> dict[tuple[str, str, str], float]:
        """(model, layer, device) -> operations a second of the slowest result."""
        if self._measured is not None:
            return self._measured
        self._measured = {}
        seen = set()
        for row in self._rows:
            key = (row["model"], row["layer"], row["mode"], row["setting"])
            if row["status"] != "ok" or not row.get("executed_macs") or key in seen:
                continue
            seen.add(key)
            rate = _measured_rate(row)
            if rate is not None:
                kind = "cuda" if row["device"].startswith("cuda") else "cpu"
                whose = (row["model"], row["layer"], kind)
                self._measured[whose] = min(rate, self._measured.get(whose, math.inf))
        return self._measured


def _measured_rate(row: Row) -> float | None:
    """Operations a second and device of a result, with its tests."""
    from pathlib import Path

    if not row.get("train_seconds") or not row.get("wall_seconds"):
        return None
    spec = RunFolder(Path(row["folder"])).spec()
    if not spec.stages:
        return None
    clips = _TRAIN_PASSES * total_cost(spec.stages) * row["train_clips"]
    operations = _OPERATIONS_A_MAC * row["executed_macs"] * clips
    return operations / (row["train_seconds"] * spec.ranks)


def _key(spec: RunSpec, facts: ClipFacts, *what: Any) -> str:
    """Of a run's network on its clips, and of what is asked of it."""
    names = {"model", "model_options", "layer", "layer_options"}
    network = spec.model_dump(mode="json", include=names)
    content = [network, facts.clip_shape, facts.classes, *what]
    return json.dumps(content, sort_keys=True, default=str)
