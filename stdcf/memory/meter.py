"""Measures, and holds to a cap, the steps of a run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stdcf.memory.report import MemoryReport
from stdcf.memory.tracking.lives import storages
from stdcf.memory.tracking.tracker import LifeTracker


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
        cap_bytes: on CPU, raise `CapExceeded` as soon as a step has more alive. All steps up to the
            measured one are watched; the later ones are no larger.
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
        batch = [clip_BCTHW] if target is None else [clip_BCTHW, target]
        if now > self._measured_step:
            yield
        elif clip_BCTHW.is_cuda:
            if now == self._measured_step:
                torch.cuda.reset_peak_memory_stats(clip_BCTHW.device)
            yield
            if now == self._measured_step:
                self.report = self._cuda_report(clip_BCTHW, batch)
        elif now == self._measured_step or self._cap_bytes is not None:
            with LifeTracker(self._model, self._optimizer, batch, self._cap_bytes) as tracker:
                yield
            if now == self._measured_step:
                self.report = _tracker_report(tracker, clip_BCTHW)
        else:
            yield

    @contextmanager
    def test(self) -> Iterator[None]:
        """Around a test: on CPU its first batch, than which none is larger, is held to the cap.

        Raises:
            CapExceeded: from within, by the operator that passed the cap.
        """
        if self._cap_bytes is None or next(self._model.parameters()).is_cuda:
            yield
            return
        forward = self._model.forward

        def first(clip_BCTHW: Tensor) -> Tensor:
            del self._model.forward
            with LifeTracker(self._model, self._optimizer, [clip_BCTHW], self._cap_bytes):
                return forward(clip_BCTHW)

        self._model.forward = first
        try:
            yield
        finally:
            self._model.__dict__.pop("forward", None)

    def _cuda_report(self, clip_BCTHW: Tensor, batch: list[Tensor]) -> MemoryReport:
        where = clip_BCTHW.device
        peak_bytes = torch.cuda.max_memory_allocated(where) - self._before_bytes
        known = known_bytes(where, self._model, self._optimizer, batch)
        # The allocator does not tell what the rest was: activations, gradients, temporaries.
        rest = {"activations_and_others": peak_bytes - sum(known.values())}
        free_bytes, total_bytes = torch.cuda.mem_get_info(where)
        return MemoryReport(
            peak_bytes=peak_bytes,
            breakdown=known | rest,
            moment=None,
            measured_by="cuda_allocated",
            input_shape=tuple(clip_BCTHW.shape),
            device=str(where),
            allocated_bytes=peak_bytes,
            reserved_bytes=torch.cuda.max_memory_reserved(where),
            context_bytes=total_bytes - free_bytes - torch.cuda.memory_reserved(where),
        )


def _tracker_report(tracker: LifeTracker, clip_BCTHW: Tensor) -> MemoryReport:
    return MemoryReport(
        peak_bytes=tracker.peak_bytes,
        breakdown=tracker.breakdown(),
        moment=tracker.peak_moment,
        measured_by="tracker_cpu",
        input_shape=tuple(clip_BCTHW.shape),
        device=str(clip_BCTHW.device),
        host_bytes=tracker.host_bytes,
        macs=tracker.macs,
    )


def known_bytes(
    device: torch.device, model: nn.Module, optimizer: Optimizer, batch: Sequence[Tensor]
) -> dict[str, int]:
    """What is alive throughout a step on a device, by category."""
    return {
        "parameters": _bytes_on(device, list(model.parameters())),
        "buffers": _bytes_on(device, list(model.buffers())),
        "optimizer_state": _bytes_on(device, list(optimizer.state.values())),
        "batch": _bytes_on(device, batch),
    }


def _bytes_on(device: torch.device, tree: Any) -> int:
    sizes = {s._cdata: s.nbytes() for s in storages(tree) if s.device == device}
    return sum(sizes.values())
