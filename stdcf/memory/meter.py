"""Measures, and holds to a cap, the steps of a run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from stdcf.errors import UserError
from stdcf.memory.report import MemoryReport
from stdcf.memory.savers import Saver, learn
from stdcf.memory.savers.batch import Batch, Inputs
from stdcf.memory.savers.learning import batch_of
from stdcf.memory.timeline import Timeline
from stdcf.memory.tracking.lives import attribute_tensors, storages, tensors
from stdcf.memory.tracking.tracker import LifeTracker
from stdcf.memory.tracking.watch import CapWatch


class StepMeter:
    """Measures the peak of one ordinary step of a real run, and on CPU holds all steps to a cap.

    The step inside of the context is any: forward, backward and the optimiser are told apart by
    themselves. On CUDA a step is measured by the allocator, on CPU by `LifeTracker`. Without a cap
    all other steps cost nothing; with one, `CapWatch` counts in each of them.

        meter = StepMeter(model, optimizer)
        for clip, target in loader:
            with meter.step(clip, target):
                ...  # forward, backward, optimizer.step(), optimizer.zero_grad()
        meter.report

    Args:
        model, optimizer: those of the run.
        cap_bytes: on CPU, raise `CapExceeded` as soon as a step or a test batch has more alive;
            what earlier ones left behind counts. On CUDA the allocator holds it (`cap.limit_gpu`).
        measured_step: counted from 0; in the second step the optimiser's state exists.
        before_bytes: what was allocated on the GPU before the model and is not to count.
        watch: that of an earlier meter of the same model, whose leaks count on.
        inputs: gives (args, kwargs) of the model for what `step` gets, a loader's batch or its
            size.
        loss: of the model's output and the batch, for `run`.

    Attributes:
        report: of the measured step; None until then.
        watch: what holds the cap; None without one.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        cap_bytes: int | None = None,
        measured_step: int = 1,
        before_bytes: int = 0,
        watch: CapWatch | None = None,
        inputs: Inputs | None = None,
        loss: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        self.report: MemoryReport | None = None
        if watch is None and cap_bytes is not None:
            watch = CapWatch(model, cap_bytes)
        self.watch = watch
        self._model, self._optimizer = model, optimizer
        self._measured_step, self._before_bytes = measured_step, before_bytes
        self._inputs, self._loss = inputs, loss
        self._step = 0

    @contextmanager
    def step(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """Around one whole training step; gives (args, kwargs), which `inputs` makes of the batch.

        Args:
            args, kwargs: clip and target, or whatever the step gets: tensors in nested lists,
                tuples, mappings and dataclasses. With `inputs` one thing, a batch or its size.

        Raises:
            CapExceeded: from within, by the operator that passed the cap.
        """
        if self._inputs is None:
            made = (args, kwargs)
        elif len(args) != 1 or kwargs:
            raise UserError("a step of a meter with inputs= takes one thing, a batch or its size")
        else:
            made = batch_of(args[0], self._inputs).pair
        # A loader's batch lies beside what was made of it.
        with self._around(made if self._inputs is None else (made, args)):
            yield made

    def run(self, batch: Any, savers: Sequence[Saver] = ()) -> None:
        """One whole training step by `learn`: forward, `loss`, backward, optimiser, gradients None.

        Args:
            batch: a clip, (args, kwargs), or what `inputs` takes; of a loader's batch `inputs`
                makes the arguments within the step.

        Raises:
            UserError: without a `loss`.
            CapExceeded: by the operator that passed the cap.
        """
        if self._loss is None:
            raise UserError("a step of a meter's own takes its loss=, of the output and the batch")
        sized = batch_of(batch, self._inputs) if isinstance(batch, int) else batch
        with self._around(sized.pair if isinstance(sized, Batch) else sized):
            learn(
                self._model,
                sized,
                None,
                self._loss,
                savers,
                optimizer=self._optimizer,
                inputs=self._inputs,
            )
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def _around(self, batch: Any) -> Iterator[None]:
        now, self._step = self._step, self._step + 1
        measured = now == self._measured_step
        where = device_of(batch, self._model)
        if where.type == "cuda":
            if measured:
                torch.cuda.reset_peak_memory_stats(where)
            yield
            if measured:
                self.report = self._cuda_report(where, batch)
            return
        tracker = LifeTracker(self._model, self._optimizer, tensors(batch)) if measured else None
        with ExitStack() as stack:
            if self.watch is not None:
                stack.enter_context(self.watch.over(batch, self._optimizer))
            if tracker is not None:
                stack.enter_context(tracker)
            yield
        if tracker is not None:
            self.report = _tracker_report(tracker, where, clip_shape(batch))

    @contextmanager
    def test(self) -> Iterator[None]:
        """Around a test: on CPU every pass through the model is held to the cap.

        Raises:
            CapExceeded: from within, by the operator that passed the cap.
        """
        watch = self.watch
        if watch is None or device_of((), self._model).type == "cuda":
            yield
            return
        given = vars(self._model).get("forward")
        forward = self._model.forward

        def held(*args: Any, **kwargs: Any) -> Any:
            with watch.over((args, kwargs), self._optimizer):
                return forward(*args, **kwargs)

        self._model.forward = held
        try:
            yield
        finally:
            del self._model.forward
            if given is not None:
                self._model.forward = given

    def _cuda_report(self, where: torch.device, batch: Any) -> MemoryReport:
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
            input_shape=clip_shape(batch),
            device=str(where),
            allocated_bytes=peak_bytes,
            reserved_bytes=torch.cuda.max_memory_reserved(where),
            context_bytes=total_bytes - free_bytes - torch.cuda.memory_reserved(where),
        )


def _tracker_report(
    tracker: LifeTracker, where: torch.device, shape: tuple[int, ...]
) -> MemoryReport:
    return MemoryReport(
        peak_bytes=tracker.peak_bytes,
        breakdown=tracker.breakdown(),
        moment=tracker.peak_moment,
        measured_by="tracker_cpu",
        input_shape=shape,
        device=str(where),
        host_bytes=tracker.host_bytes,
        macs=tracker.macs,
        lives=Timeline(tracker.lives, tracker.moments, tracker.peak_time),
    )


def known_bytes(
    device: torch.device, model: nn.Module, optimizer: Optimizer, batch: Any
) -> dict[str, int]:
    """What is alive throughout a step on a device, by category."""
    return {
        "parameters": _bytes_on(device, list(model.parameters())),
        "buffers": _bytes_on(device, [*model.buffers(), *attribute_tensors(model)]),
        "optimizer_state": _bytes_on(device, list(optimizer.state.values())),
        "batch": _bytes_on(device, batch),
    }


def device_of(batch: Any, model: nn.Module) -> torch.device:
    """Where a step runs: on a GPU if the batch or the model is on one."""
    places = [tensor.device for tensor in tensors([batch, list(model.parameters())])]
    on_cuda = (place for place in places if place.type == "cuda")
    return next(on_cuda, places[0] if places else torch.device("cpu"))


def clip_shape(batch: Any) -> tuple[int, ...]:
    """Of the first clip of a batch: its first tensor of five dimensions, else its first."""
    found = [tuple(tensor.shape) for tensor in tensors(batch)]
    return next((shape for shape in found if len(shape) == 5), found[0] if found else ())


def _bytes_on(device: torch.device, tree: Any) -> int:
    sizes = {s._cdata: s.nbytes() for s in storages(tree) if s.device == device}
    return sum(sizes.values())
