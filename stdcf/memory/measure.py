"""The peak memory of a training step that really runs."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stdcf.errors import UserError
from stdcf.memory.predict import device_type, refuse_savers
from stdcf.memory.report import MemoryReport
from stdcf.memory.step import Loss, StepOptions
from stdcf.memory.tracker import LifeTracker, storages

if TYPE_CHECKING:
    from stdcf.training.stage import Stage


def measure_peak(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int],
    *,
    num_classes: int | None = None,
    loss: str | Loss = "cross_entropy",
    optimizer: str = "adam",
    device: str = "cuda",
    autocast: str | torch.dtype | None = None,
    memory_format: str | torch.memory_format | None = None,
    stage: "Stage | None" = None,
    savers: Sequence[Any] = (),
) -> MemoryReport:
    """Measures a training step's peak memory; the arguments are `predict_peak`'s.

    It is the peak of the second step on random data. On CUDA it is the allocator's count, without
    what was allocated before; on CPU every tensor's storage is counted, with what CPU's operators
    keep (a mask of floats after nn.Dropout, for one).

    Args:
        device: where it runs, such as "cpu" or "cuda:0".

    Raises:
        UserError: for an option that does not exist, or a device that is not there.
    """
    refuse_savers(savers)
    options = StepOptions(num_classes, loss, optimizer, autocast, memory_format, stage)
    on_cuda = device_type(device) == "cuda"
    where = torch.device(device)
    before_bytes = 0
    if on_cuda:
        if not torch.cuda.is_available():
            raise UserError(f"device {device!r} is not there; device='cpu' runs on this machine")
        gc.collect()
        torch.cuda.empty_cache()
        before_bytes = torch.cuda.memory_allocated(where)
    step = options.build(model_fn().to(where), input_shape, where)
    meter = StepMeter(step.model, step.optimizer, measured_step=0, before_bytes=before_bytes)
    with meter.step(step.clip_BCTHW, step.target):
        step()
    assert meter.report is not None
    return replace(meter.report, device=device, stage=None if stage is None else stage.name)


class StepMeter:
    """Measures the peak of one ordinary training step in a real run; all others cost nothing.

    The step inside of the context is any: forward, backward and the optimiser are told apart by
    themselves. On CUDA a step is measured by the allocator, on CPU by `LifeTracker`.

        meter = StepMeter(model, optimizer)
        for clip, target in loader:
            with meter.step(clip, target):
                ...  # forward, backward, optimizer.step(), optimizer.zero_grad()
        meter.report

    Args:
        model, optimizer: those of the run.
        cap_bytes: raise `CapExceeded` as soon as the measured step has more alive (on CPU).
        measured_step: counted from 0; in the second step the optimiser's state exists.
        before_bytes: what was allocated on the GPU before the model and is not to count.

    Attributes:
        report: of the measured step; None until then.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        cap_bytes: int | None = None,
        measured_step: int = 1,
        before_bytes: int = 0,
    ) -> None:
        self.report: MemoryReport | None = None
        self._model, self._optimizer, self._cap_bytes = model, optimizer, cap_bytes
        self._measured_step, self._before_bytes = measured_step, before_bytes
        self._step = 0

    @contextmanager
    def step(self, clip_BCTHW: Tensor, target: Tensor | None = None) -> Iterator[None]:
        """Around one whole training step on this batch.

        Raises:
            CapExceeded: from within, by the operator that passed the cap.
        """
        now, self._step = self._step, self._step + 1
        if now != self._measured_step:
            yield
            return
        batch = [clip_BCTHW] if target is None else [clip_BCTHW, target]
        if clip_BCTHW.is_cuda:
            where = clip_BCTHW.device
            torch.cuda.reset_peak_memory_stats(where)
            yield
            self.report = self._cuda_report(clip_BCTHW, batch)
            return
        with LifeTracker(self._model, self._optimizer, batch, self._cap_bytes) as tracker:
            yield
        self.report = MemoryReport(
            peak_bytes=tracker.peak_bytes,
            breakdown=tracker.breakdown(),
            moment=tracker.peak_moment,
            measured_by="tracker_cpu",
            input_shape=tuple(clip_BCTHW.shape),
            device=str(clip_BCTHW.device),
        )

    def _cuda_report(self, clip_BCTHW: Tensor, batch: list[Tensor]) -> MemoryReport:
        where = clip_BCTHW.device
        peak_bytes = torch.cuda.max_memory_allocated(where) - self._before_bytes
        known = {
            "parameters": _bytes_on(where, list(self._model.parameters())),
            "buffers": _bytes_on(where, list(self._model.buffers())),
            "optimizer_state": _bytes_on(where, list(self._optimizer.state.values())),
            "batch": _bytes_on(where, batch),
        }
        # The allocator does not tell what the rest was: activations, gradients, temporaries.
        rest = {"activations_and_others": peak_bytes - sum(known.values())}
        return MemoryReport(
            peak_bytes=peak_bytes,
            breakdown=known | rest,
            moment=None,
            measured_by="cuda_allocated",
            input_shape=tuple(clip_BCTHW.shape),
            device=str(where),
            reserved_bytes=torch.cuda.max_memory_reserved(where),
        )


def _bytes_on(device: torch.device, tree: Any) -> int:
    sizes = {s._cdata: s.nbytes() for s in storages(tree) if s.device == device}
    return sum(sizes.values())
