"""What a run will need, before it runs: memory, computation and time.

There is one estimate of time. The multiplications that a step executes, by the plans that will run,
and the bytes that its other operators move are those of the predicted step. They take the time that
the device's earlier rows say. How far whole trainings were from that, is a factor: of rows of the
same network first.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

from stdcf.memory.predict import Predictor
from stdcf.memory.report import MemoryReport
from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.catalog import build_model
from suites.engine.clip_facts import ClipFacts, assumed_facts, facts_of
from suites.engine.spec import RunSpec
from suites.engine.speeds import TRAIN_PASSES, Speeds, device_kind, device_model, layer_name
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Row

__all__ = ["GPU_SIZES_GIB", "ClipFacts", "Estimates", "Measured", "assumed_facts", "facts_of"]

# Of the GPUs that are sold, in GiB.
GPU_SIZES_GIB = (4, 6, 8, 10, 11, 12, 16, 24, 32, 40, 48, 80, 94, 141, 180)
# CUDA's context, cuDNN's workspaces and the allocator's rounding, over the predicted tensors.
_GPU_RESERVE_BYTES = 1.0 * 2**30
_GPU_MARGIN = 1.1

# What an estimate rests on, the closest first.
BASES = (
    "trainings of the same network and clips",
    "trainings of the model on the same clips, with another layer",
    "steps of the same network",
    "steps of the model, with another layer",
    "the device's times of single layers",
    "trainings of the same network on other clips",
    "rows of other networks",
    "an assumed speed",
)


# Trainings on other clips that count: of the many that there may be, each asks for a prediction.
_LATEST = 9


@dataclass(frozen=True)
class Measured:
    """An earlier row, or one of its timed ways: a whole network's time beside the modelled one.

    Attributes:
        facts: of its clips.
        trained: a whole training, with its data; else steps alone.
        network: of runs of the same network and type.
        modelled_seconds: the modelled time; a step is predicted for it where none like it was.
    """

    spec: RunSpec
    facts: ClipFacts
    trained: bool
    network: str
    seconds: float
    modelled_seconds: Callable[[], float]

    @cached_property
    def factor(self) -> float:
        """Of the modelled time."""
        return self.seconds / self.modelled_seconds()


class Estimates:
    """Of many runs; what they share, a network or a stage, is computed once.

    Args:
        rows: earlier results, whose speed counts more than any assumption.
        teraflops: that a device sustains, where nothing was measured.
        device: whose rows count, as "H200"; None: of the kind that was measured most.
    """

    def __init__(
        self, rows: Sequence[Row] = (), teraflops: float | None = None, device: str | None = None
    ) -> None:
        self._all, self._teraflops, self._device = rows, teraflops, device
        self._predictors: dict[str, Predictor] = {}
        self._steps: dict[str, MemoryReport] = {}
        self._speeds: dict[str, Speeds] = {}
        self._known: dict[str, list[Measured]] = {}

    def device(self, kind: str) -> str | None:
        """The device whose rows an estimate goes by; None where there are none."""
        names = [device_model(row) for row in self._all if device_kind(row) == kind]
        if self._device is not None:
            wanted = self._device.lower()
            names = [n for n in names if wanted in n.lower() or n.lower() in wanted]
        return max(set(names), key=lambda name: (names.count(name), name), default=None)

    def _rows(self, kind: str) -> list[Row]:
        """Of the device, the latest last."""
        name = self.device(kind)
        own = [r for r in self._all if (device_kind(r), device_model(r)) == (kind, name)]
        return sorted(own, key=lambda row: str(row.get("finished", "")))

    def peak_bytes(self, spec: RunSpec, facts: ClipFacts, device: str) -> int | None:
        """Predicted peak of one device's tensors; None of a run that does not train."""
        if not spec.is_training:
            return None
        return max(self.step(spec, stage, facts, device).peak_bytes for stage in spec.stages)

    def smallest_gpu_gib(self, spec: RunSpec, facts: ClipFacts) -> int | None:
        """Of the usual sizes the smallest that holds a run; None if none does."""
        peak = self.peak_bytes(spec, facts, "cuda")
        if peak is None:
            return GPU_SIZES_GIB[0]
        needed = _GPU_MARGIN * peak + _GPU_RESERVE_BYTES
        return next((size for size in GPU_SIZES_GIB if size * 2**30 >= needed), None)

    def step(self, spec: RunSpec, stage: Stage, facts: ClipFacts, device: str) -> MemoryReport:
        """A training step of one device's share of the batch, predicted."""
        shape = (-(-spec.batch_size // spec.ranks), *facts.clip_shape)
        # Padding follows dilation, so that sizes stay, and memory and products with them.
        plain = stage.changed(dilation=(1, 1))
        savers = [word for word in spec.savers if not word.startswith("budget")]
        what = [device, shape, plain.clip_shape(shape), plain.trains, plain.optimizer]
        key = _key(spec, facts.classes, *what, spec.amp, savers)
        if key not in self._steps:
            self._steps[key] = self._predictor(spec, facts, device).peak(
                shape,
                num_classes=facts.classes,
                stage=plain,
                optimizer=plain.optimizer,
                autocast="bfloat16" if spec.amp else None,
                savers=savers,
                memory_format="channels_last_3d" if device == "cpu" else None,
            )
        return self._steps[key]

    def _predictor(self, spec: RunSpec, facts: ClipFacts, device: str) -> Predictor:
        channels = facts.clip_shape[0]
        # What a CPU's layout leaves behind must not be a GPU's.
        key = _key(spec, facts.classes, channels, device)
        if key not in self._predictors:
            self._predictors[key] = Predictor(
                lambda: build_model(spec, facts.classes, channels), device
            )
        return self._predictors[key]

    def seconds(self, spec: RunSpec, facts: ClipFacts) -> float | None:
        """Time of training and its tests on the run's devices; None where it cannot be told."""
        if not spec.is_training:
            return None
        factor, _ = self._factor(spec, facts)
        return factor * self._modelled(spec, facts)

    def basis(self, spec: RunSpec, facts: ClipFacts) -> str:
        """What `seconds` rests on, of `BASES`."""
        return BASES[self._factor(spec, facts)[1]]

    def is_measured(self, spec: RunSpec, facts: ClipFacts) -> bool:
        """Whether `seconds` rests on results rather than on an assumed speed."""
        return self.basis(spec, facts) != BASES[-1]

    def _modelled(self, spec: RunSpec, facts: ClipFacts) -> float:
        """By the device's speed alone."""
        seconds = 0.0
        per_pass = math.inf
        for stage in spec.stages:
            step = self._step_seconds(spec, stage, facts)
            # Steps of a cycle take as long as each other.
            clips = fmean(member.batch_of(spec.batch_size) for member in stage.members())
            seconds += stage.epochs * facts.train_clips / clips * step
            # A forward pass of a full-size clip, as this stage's steps are.
            size = stage.relative_cost() * clips
            per_pass = min(per_pass, step / (TRAIN_PASSES * size))
        return seconds + len(spec.stages) * facts.test_passes * per_pass

    def _step_seconds(self, spec: RunSpec, stage: Stage, facts: ClipFacts) -> float:
        report = self.step(spec, stage, facts, spec.device)
        return self._speed(spec.device).step_seconds(
            report.macs or 0,
            report.moved_bytes or 0,
            layer=layer_name(spec.layer, spec.layer_options),
            channels=self._channels(spec, facts),
            amp=spec.amp,
        )

    def _speed(self, kind: str) -> Speeds:
        if kind not in self._speeds:
            self._speeds[kind] = Speeds(self._rows(kind), kind, self._teraflops)
        return self._speeds[kind]

    def _channels(self, spec: RunSpec, facts: ClipFacts) -> set[tuple[int, int]]:
        """Channels in and out of the network's 3×3 convolutions."""
        model = self._predictor(spec, facts, spec.device).model
        found = set()
        for module in model.modules():
            kernel = getattr(module, "kernel_size", ())
            if isinstance(kernel, tuple) and kernel[-2:] == (3, 3):
                found.add((getattr(module, "in_channels", 0), getattr(module, "out_channels", 0)))
        return found

    def _factor(
        self, spec: RunSpec, facts: ClipFacts, besides: Measured | None = None
    ) -> tuple[float, int]:
        """Of the modelled time, and which of `BASES` it rests on."""
        network, clip = _key(spec, spec.amp, spec.savers), facts.clip_shape
        known = [m for m in self.measured(spec.device, spec.model) if m is not besides]
        same = [m for m in known if m.network == network]
        alike = [m for m in known if (m.spec.amp, m.spec.savers) == (spec.amp, ())]
        tiers = [
            [m for m in same if m.trained and m.facts.clip_shape == clip],
            [m for m in alike if m.trained and m.facts.clip_shape == clip],
            [m for m in same if not m.trained],
            [m for m in alike if not m.trained],
        ]
        if besides is not None and not besides.trained:
            # What a training's data costs is not in a step's time.
            tiers[:2] = [[], []]
        for place, tier in enumerate(tiers):
            if tier:
                return median(m.factor for m in tier), place
        channels = self._channels(spec, facts)
        layer = layer_name(spec.layer, spec.layer_options)
        if self._speed(spec.device).knows(layer, channels, spec.amp):
            return 1.0, BASES.index("the device's times of single layers")
        trainings = [m for m in same if m.trained and (besides is None or besides.trained)]
        if trainings:
            basis = BASES.index("trainings of the same network on other clips")
            return median(m.factor for m in trainings[-_LATEST:]), basis
        others = [m for m in self.measured(spec.device) if m is not besides]
        if others:
            return median(m.factor for m in others), BASES.index("rows of other networks")
        return 1.0, len(BASES) - 1

    def measured(self, kind: str, model: str | None = None) -> list[Measured]:
        """Earlier rows of whole networks on the device, of one model or of all."""
        if model is None:
            models = {spec.model for spec, *_ in self._whole_networks[kind]}
            return [one for name in sorted(models) for one in self.measured(kind, name)]
        key = f"{kind} {model}"
        if key not in self._known:
            self._known[key] = [
                Measured(
                    spec,
                    facts,
                    trained,
                    _key(spec, spec.amp, spec.savers),
                    seconds,
                    partial(self._modelled, spec, facts)
                    if trained
                    else partial(self._step_seconds, spec, spec.stages[0], facts),
                )
                for spec, facts, trained, seconds in self._whole_networks[kind]
                if spec.model == model
            ]
        return self._known[key]

    @cached_property
    def _whole_networks(self) -> dict[str, list[tuple[RunSpec, ClipFacts, bool, float]]]:
        return {
            kind: [one for row in self._rows(kind) for one in _times_of(row, kind)]
            for kind in ("cpu", "cuda")
        }

    def errors(self, kind: str) -> dict[str, list[float]]:
        """Basis -> estimated over measured time of each earlier row, by what is left without it."""
        found: dict[str, list[float]] = {}
        for one in self.measured(kind):
            factor, place = self._factor(one.spec, one.facts, besides=one)
            found.setdefault(BASES[place], []).append(factor / one.factor)
        # Whether the layers alone would have told them.
        layers = [
            1 / one.factor
            for one in self.measured(kind)
            if not one.trained
            and not one.spec.savers
            and self._speed(kind).knows(
                layer_name(one.spec.layer, one.spec.layer_options),
                self._channels(one.spec, one.facts),
                one.spec.amp,
            )
        ]
        if layers:
            found[BASES[4]] = layers
        return {basis: found[basis] for basis in BASES if basis in found}


def _times_of(row: Row, kind: str) -> Iterator[tuple[RunSpec, ClipFacts, bool, float]]:
    """What a row says of whole networks: spec, clips, whether it is a training, and seconds."""
    if row["status"] != "ok":
        return
    if "throughput" in row:
        cases = {case["name"]: case for case in _spec_of(row).options["cases"]}
        for way in row["throughput"]:
            if way["name"] in cases:
                yield *_of_case(cases[way["name"]], kind), False, way["seconds"]
        return
    is_own = row.get("train_seconds") and row.get("executed_macs") and "read_off" not in row
    if not is_own or row.get("cap_bytes") is not None:
        return
    spec = _spec_of(row)
    if spec.is_training:
        facts = ClipFacts(tuple(row["clip_shape"]), row["classes"], row["train_clips"], 0.0)
        yield spec, facts, True, row["train_seconds"]


def _spec_of(row: Row) -> RunSpec:
    return RunFolder(Path(row["folder"])).spec()


def _of_case(case: dict[str, Any], kind: str) -> tuple[RunSpec, ClipFacts]:
    """One of gpu_evidence's timed steps as a run."""
    stages = {stage.name: stage for stage in itsl(1, epochs=1, lr=0.1)}
    stages |= {stage.name: stage for stage in full_size(epochs=1, lr=0.1)}
    spec = RunSpec(
        suite="gpu_evidence",
        profile="",
        mode=case["name"],
        model=case["model"],
        model_options=case["model_options"],
        layer=case["layer"],
        layer_options=case["layer_options"],
        stages=(stages[case["stage"]].changed(optimizer=case["optimizer"]),),
        seed=0,
        batch_size=case["batch"],
        amp=case["dtype"] == "bfloat16",
        savers=tuple(filter(None, case["savers"].split(","))),
        device="cuda" if kind == "cuda" else "cpu",
    )
    return spec, ClipFacts(tuple(case["clip"]), case["classes"], 0, 0.0)


def _key(spec: RunSpec, *what: Any) -> str:
    """Of a run's network, and of what is asked of it."""
    names = {"model", "model_options", "layer", "layer_options"}
    network = spec.model_dump(mode="json", include=names)
    return json.dumps([network, *what], sort_keys=True, default=str)
