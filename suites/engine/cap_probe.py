"""Whether a run under a cap is the uncapped one: decided by real steps, not by training again.

A cap changes numbers only where it ends a run, or where what it leaves makes a library take another
way. So two steps of each kind of stage (in the second the optimiser's state exists) and one batch
of the test are done without the cap and with it. Where their results are the same, bit for bit,
the run's row is the uncapped one's. On a device that does not repeat itself bit for bit, they may
differ by as much as two uncapped repetitions.
"""

import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from stdcf.data.clips.splits import VideoData
from stdcf.layers import set_dilation
from stdcf.memory.cap import limit_gpu
from stdcf.memory.savers import parse_savers
from stdcf.memory.tracking.tracker import CapExceeded
from stdcf.stages.stage import Stage
from stdcf.training.trainer import Stopped, Trainer
from suites.engine.catalog import build_model
from suites.engine.read_off import CapVerdict, cap_verdict
from suites.engine.task import Run

Same = Literal["bits", "repetition", "no"]
_STEPS = 2


class SameAsUncapped(Exception):
    """The run's row is the uncapped one's, and comes with it."""


@dataclass(frozen=True)
class _Tried:
    """What steps and a test came to: weights and scores, and what a row says of the memory."""

    tensors: list[Tensor]
    facts: dict[str, Any]


def decide(run: Run, data: VideoData) -> None:
    """Tries the run's stages under its cap; returns if it must be trained to be known.

    Raises:
        SameAsUncapped: if it need not be.
        CapExceeded, torch.OutOfMemoryError: if a step or a test takes more.
        Stopped: if the run was asked to stop.
    """
    verdict = cap_verdict(run.folder)
    if verdict is None or verdict.exceeded:
        verdict = _verdict(run, data)
    if verdict.same != "no":
        raise SameAsUncapped


def _verdict(run: Run, data: VideoData) -> CapVerdict:
    kinds: dict[Any, dict[str, Any]] = {}
    kept: dict[str, dict[str, Any]] = {}
    same: Same = "bits"
    try:
        for stage in run.spec.stages:
            what = {"name", "epochs", "lr", "milestones", "warmup_epochs", "schedule", "gamma"}
            kind = stage.model_dump_json(exclude=what)
            if kind not in kinds:
                free = _try(run, data, stage, None)
                capped = _try(run, data, stage, run.spec.cap_bytes)
                kinds[kind] = capped.facts
                if _deviation(free, capped):
                    # How far two uncapped ones are apart.
                    again = _try(run, data, stage, None)
                    near = _deviation(free, capped) <= 2 * _deviation(free, again)
                    same = "repetition" if near and same != "no" else "no"
            kept[stage.name] = kinds[kind]
    except (CapExceeded, torch.OutOfMemoryError):
        CapVerdict(kept, same, exceeded=True).write(run.folder)
        raise
    verdict = CapVerdict(kept, same)
    verdict.write(run.folder)
    return verdict


def _try(run: Run, data: VideoData, stage: Stage, cap_bytes: int | None) -> _Tried:
    """Two steps and one batch of the test, of a network that is drawn anew."""
    spec, steps = run.spec, 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps >= _STEPS or run.should_stop()

    _limit(run, cap_bytes)
    torch.manual_seed(spec.seed)
    with tempfile.TemporaryDirectory(dir=run.folder.path, prefix=".cap-") as folder:
        trainer = Trainer(
            build_model(spec, len(data.classes), data.train.clip_shape[0]),
            data,
            # Two epochs, where one has a single step.
            [stage.changed(epochs=2, milestones=(), warmup_epochs=0, schedule="step")],
            batch_size=spec.batch_size,
            seed=spec.seed,
            numerics=run.numerics(data),
            folder=Path(folder),
            savers=parse_savers(spec.savers),
            cap_bytes=cap_bytes,
            should_stop=stop,
        )
        try:
            trainer.run()
        except Stopped:
            run.stop_if_asked()
    report = trainer.history.peaks[stage.name]
    scores, test_batch_size = _scores(trainer, data, stage)
    weights = [tensor.cpu() for tensor in trainer.model.state_dict().values()]
    facts = {name: report[name] for name in ("peak_bytes", "reserved_bytes", "measured_by")}
    return _Tried([*weights, scores], facts | {"test_batch_size": test_batch_size})


@torch.no_grad()
def _scores(trainer: Trainer, data: VideoData, stage: Stage) -> tuple[Tensor, int]:
    """Of one batch of the test, in parts where the whole does not fit; and a part's size."""
    set_dilation(trainer.model, *stage.test_dilation)
    model, prepare = trainer.model.eval(), trainer.numerics.prepare
    size = trainer.batch_size
    draws = torch.Generator().manual_seed(trainer.seed)
    shape = (size, *data.test.clip_shape)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=draws)
    while True:
        try:
            with trainer.meter.test(), trainer.numerics.autocast():
                parts = [model(prepare(part)) for part in clips.split(size)]
            return torch.cat([part.float().cpu() for part in parts]), size
        except (CapExceeded, torch.OutOfMemoryError):
            if size == 1:
                raise
            size //= 2


def _limit(run: Run, cap_bytes: int | None) -> None:
    if not run.on_gpu:
        return
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0, run.where)
    if cap_bytes is not None:
        limit_gpu(run.where, cap_bytes)


def _deviation(one: _Tried, other: _Tried) -> float:
    """Largest difference of a tensor's elements, relative to its largest; 0 of equal bits."""
    found = 0.0
    for a, b in zip(one.tensors, other.tensors, strict=True):
        if not torch.equal(a, b):
            scale = float(a.abs().max()) or 1.0
            gap = float((a - b).abs().max()) / scale
            # What is not finite is like nothing.
            found = max(found, gap) if gap == gap else float("inf")
    return found
