"""The peak memory of a training step that really runs."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from stdcf.errors import UserError
from stdcf.memory.meter import StepMeter, known_bytes
from stdcf.memory.predict import device_type
from stdcf.memory.report import MemoryReport
from stdcf.memory.savers import Saver, parse_savers
from stdcf.memory.savers.batch import Inputs
from stdcf.memory.step import Loss, StepOptions, TrainingStep
from stdcf.memory.timeline import Timeline
from stdcf.memory.tracking.allocator_events import allocator_peak
from stdcf.memory.tracking.tracker import LifeTracker

if TYPE_CHECKING:
    from stdcf.stages.stage import Stage

COUNTS = ("tensors", "allocator")


def measure_peak(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int] | int,
    *,
    num_classes: int | None = None,
    loss: str | Loss = "cross_entropy",
    optimizer: str | Callable[..., torch.optim.Optimizer] = "adam",
    device: str = "cuda",
    autocast: str | torch.dtype | None = None,
    memory_format: str | torch.memory_format | None = None,
    stage: "Stage | None" = None,
    savers: Sequence[str | Saver] = (),
    inputs: Inputs | None = None,
    count: str = "tensors",
    timeline: bool = False,
) -> MemoryReport:
    """Measures a training step's peak memory; the arguments are `predict_peak`'s.

    It is the peak of the second step on random data. On CUDA it is the allocator's count, without
    what was allocated before; on CPU every tensor's storage is counted, with what CPU's operators
    keep (a mask of floats after nn.Dropout, for one).

    Args:
        device: where it runs, such as "cpu" or "cuda:0".
        count: on CPU, "tensors" or "allocator": the allocator's own events, which hold what
            operators allocate within themselves too. On CUDA both are the allocator's.
        timeline: on CUDA take one step more, whose tensors are counted, for `MemoryReport.timeline`
            and its pictures; on CPU they are known in any case.

    Raises:
        UserError: for an option that does not exist, or a device that is not there.
    """
    words = parse_savers(savers)
    if timeline and count == "allocator":
        raise UserError("an allocator tells no tensors; timeline=True goes with count='tensors'")
    if count not in COUNTS:
        raise UserError(f"count must be one of {', '.join(COUNTS)}, not {count!r}")
    on_cuda = device_type(device) == "cuda"
    where = torch.device(device)
    before_bytes = 0
    if on_cuda:
        if not torch.cuda.is_available():
            raise UserError(f"device {device!r} is not there; device='cpu' runs on this machine")
        gc.collect()
        torch.cuda.empty_cache()
        before_bytes = torch.cuda.memory_allocated(where)
    elif count == "tensors" and any(saver.compiles for saver in words):
        raise UserError("a compiled model's tensors cannot be counted; count='allocator' can")
    options = StepOptions(
        num_classes, loss, optimizer, autocast, memory_format, stage, words, inputs
    )
    step = options.build(model_fn().to(where), input_shape, where)
    step.warm_up()
    if count == "allocator" and not on_cuda:
        report = _by_allocator(step)
    else:
        meter = StepMeter(step.model, step.optimizer, measured_step=0, before_bytes=before_bytes)
        with meter.step(*step.inputs.args, step.target, **step.inputs.kwargs):
            step()
        assert meter.report is not None
        report = meter.report
        if timeline and report.lives is None:
            tracker = LifeTracker(step.model, step.optimizer, step.batch)
            with tracker:
                step()
            lives = Timeline(tracker.lives, tracker.moments, tracker.peak_time)
            report = replace(report, lives=lives)
    return replace(
        report,
        device=device,
        stage=None if stage is None else stage.name,
        savers=tuple(map(str, words)),
    )


def _by_allocator(step: TrainingStep) -> MemoryReport:
    known = known_bytes(step.clip_BCTHW.device, step.model, step.optimizer, step.batch)
    rest = {"activations_and_others": allocator_peak(step)}
    return MemoryReport(
        peak_bytes=sum(known.values()) + sum(rest.values()),
        breakdown=known | rest,
        moment=None,
        measured_by="cpu_allocator",
        input_shape=tuple(step.clip_BCTHW.shape),
        device=str(step.clip_BCTHW.device),
    )
