"""Counts the life of every tensor's storage during a training step."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from stdcf.memory.tracking.lives import (
    Life,
    attribute_tensors,
    lies_on_host,
    makes_on_host,
    storages,
    tensors,
)
from stdcf.memory.tracking.moment import Moment
from stdcf.memory.tracking.place import Place

MIB = 2**20
CATEGORIES = (
    "parameters",
    "buffers",
    "gradients",
    "optimizer_state",
    "batch",
    "activations",
    "temporaries",
)
# Of DistributedDataParallel: gradients that lie in them are not counted beside them.
BUCKETS = "gradient_buckets"
# What torch asks of a tensor subclass thousands of times a step; it makes nothing.
QUESTIONS = frozenset({torch.ops.prim.device.default})


class CapExceeded(RuntimeError):
    """More bytes were alive than the cap allows.

    Attributes:
        peak_bytes, cap_bytes: what was alive, and what was allowed.
        moment: where in the step.
        facts: what else is known, for the run's row.
    """

    def __init__(self, peak_bytes: int, cap_bytes: int, moment: Moment) -> None:
        super().__init__(
            f"{peak_bytes / MIB:,.1f} MiB alive, over the cap of {cap_bytes / MIB:,.1f} MiB "
            f"({moment})"
        )
        self.peak_bytes = peak_bytes
        self.cap_bytes = cap_bytes
        self.moment = moment
        self.facts: dict[str, Any] = {}


@dataclass(frozen=True)
class _Peak:
    n_bytes: int
    time: int
    moment: Moment


class LifeTracker(TorchDispatchMode):
    """Counts the bytes of every storage alive while one training step runs under it.

    Works alike on fake tensors (a prediction) and on real ones (a measurement). A storage counts
    once however many views it has, from the operator that returns it until nothing refers to it.
    What an operator allocates and frees within itself is not seen; nor is what was alive before and
    belongs neither to the model, the optimiser nor the batch.

    Args:
        model, optimizer: their parameters, buffers, gradients and state count from the start.
        batch: the tensors of the batch, alive throughout.
        buckets: those of DistributedDataParallel, alive throughout.
        cap_bytes: raise `CapExceeded` as soon as more are alive.
        host_apart: what is made `on_host` does not count; False where it is the same memory.
        on_operator: called with each operator, its arguments, its result and the bytes that were
            alive before it.

    Attributes:
        lives: of every storage that was seen.
        moments: what ran at each time; the first is the step's start.
        place: where the step stands.
        time: how many operators have run.
        macs: multiply-accumulates of all operators that torch's table of FLOP formulas knows.
        moved_bytes: of the arguments and results of all others.
        host_bytes: the most bytes that were kept on the host at once; in no other number.
        backdated_bytes: what was found to have been there from the start when it was seen.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        batch: Iterable[Tensor] = (),
        cap_bytes: int | None = None,
        host_apart: bool = True,
        on_operator: Callable[[Any, Any, Any, int], None] | None = None,
        buckets: Iterable[Tensor] = (),
    ) -> None:
        super().__init__()
        self._buckets = tuple(buckets)
        self.lives: list[Life] = []
        self.moments = [Moment("forward", "start", "")]
        self.place = Place(model, optimizer, around_optimizer=self._mark_results)
        self.time = self.macs = self.moved_bytes = 0
        self.current_bytes = self.host_bytes = self.backdated_bytes = 0
        self._model, self._optimizer, self._batch = model, optimizer, tuple(batch)
        self._cap_bytes, self._host_apart, self._on_operator = cap_bytes, host_apart, on_operator
        self._current_host_bytes = 0
        self._alive: dict[int, tuple[weakref.ref[Any], Life]] = {}
        self._peaks = {"forward": _Peak(0, 0, Moment("forward", "start", ""))}
        self._paused = False
        self._passes, self._last_phase = 0, "forward"
        self._resize = torch.UntypedStorage.resize_

    def breakdown(self, before: int | None = None) -> dict[str, int]:
        """Bytes per category; complete once the step is over.

        Args:
            before: the number of an operator, just before which; None is at the peak, where they
                sum to `peak_bytes`.
        """
        sums = dict.fromkeys(CATEGORIES, 0)
        for life in self.lives:
            there = life.alive_at(self._peak.time if before is None else before)
            if there and not life.on_host and life.born != before:
                category = life.final_category()
                sums[category] = sums.get(category, 0) + life.n_bytes
        return sums

    def life_of(self, tensor: Tensor) -> Life | None:
        """That of a tensor's storage; None if it was not seen."""
        found = (self._alive.get(storage._cdata) for storage in storages(tensor))
        return next((entry[1] for entry in found if entry is not None), None)

    @property
    def peak_bytes(self) -> int:
        """The most bytes that were alive at once."""
        return self._peak.n_bytes

    @property
    def peak_moment(self) -> Moment:
        """When that was."""
        return self._peak.moment

    @property
    def peak_time(self) -> int:
        """After how many operators."""
        return self._peak.time

    @property
    def _peak(self) -> "_Peak":
        return max(self._peaks.values(), key=lambda peak: peak.n_bytes)

    @contextmanager
    def unseen(self, category: str, made: list[Tensor]) -> Iterator[None]:
        """Operators within are not counted; what is in `made` at the end is, from the start on."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
        known = len(self.lives)
        self._mark(category, [("target", "", tensor) for tensor in made])
        self._backdate(self.lives[known:])

    def backdate_state(self) -> None:
        """Counts the optimiser's state, which its first step has made, as if it had been there from
        the start.

        torch's optimisers make all of it before they compute, so their own peak holds it already.
        """
        made = [life for life in self.lives if life.category == "optimizer_state" and life.born]
        self._backdate(made)

    def _backdate(self, lives: list[Life]) -> None:
        n_bytes = sum(life.n_bytes for life in lives)
        self.backdated_bytes += n_bytes
        for life in lives:
            life.first_born, life.born = life.born, 0
        for phase, peak in self._peaks.items():
            if phase != "optimizer":
                self._peaks[phase] = replace(peak, n_bytes=peak.n_bytes + n_bytes)

    def __enter__(self) -> Self:
        self._mark("parameters", [(n, "", p) for n, p in self._model.named_parameters()])
        self._mark("buffers", [(n, "", b) for n, b in self._model.named_buffers()])
        self._mark("buffers", [("", "", tensor) for tensor in attribute_tensors(self._model)])
        self._mark("batch", [("", "", tensor) for tensor in self._batch])
        self._mark(BUCKETS, [("", "", tensor) for tensor in self._buckets])
        self._mark_results()
        self._settle("start")
        self.place.follow()
        self._follow_resizes()
        return super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        self._mark_results()
        self.place.leave()
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]
        # The batch and the callbacks on every storage must not outlive the step.
        self._batch = self._buckets = ()
        self._alive.clear()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused or func in QUESTIONS or getattr(func, "is_view", False):
            return func(*args, **kwargs)
        phase = self.place.phase
        if phase == "backward" and self._last_phase != "backward":
            self._passes += 1
        self._last_phase = phase
        before_bytes = self.current_bytes
        out = func(*args, **kwargs)
        operator = f"{func.namespace}.{func._opname}"
        self._passed(operator)
        taken = list(storages((args, kwargs)))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.macs += formula(*args, **kwargs, out_val=out) // 2
        else:
            self.moved_bytes += sum(moved.nbytes() for moved in (*taken, *storages(out)))
        if self._on_operator is not None:
            self._on_operator(func, (args, kwargs), out, before_bytes)
        given = set()
        for storage in taken:
            given.add(storage._cdata)
            self._resized(storage)
        for tensor in tensors(out):
            for storage in storages(tensor):
                # A view of something that was never ours does not make it ours.
                if storage._cdata not in given:
                    self._see(storage, tensor)
        self._settle(operator)
        return out

    def _passed(self, operator: str) -> None:
        self.time += 1
        self.moments.append(Moment(self.place.phase, operator, self.place.module))

    def _see(
        self, storage: torch.UntypedStorage, tensor: Tensor, category: str | None = None
    ) -> None:
        key = storage._cdata
        if key in self._alive:
            if category is not None:
                self._alive[key][1].category = category
            self._resized(storage)
            return
        host = self._host_apart and (makes_on_host() or lies_on_host(tensor))
        now = self.moments[-1]
        life = Life(storage.nbytes(), category, self.time, self.place.phase, self._passes, host)
        if category is None:
            life.operator, life.module = now.operator, now.module
        life.shape, life.dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        self.lives.append(life)
        self._alive[key] = (weakref.ref(storage, lambda _: self._die(key)), life)
        self._add(life, life.n_bytes)

    def _die(self, key: int) -> None:
        _, life = self._alive.pop(key)
        life.died, life.passes_before_death = self.time + 1, self._passes
        self._add(life, -life.n_bytes)

    def _add(self, life: Life, n_bytes: int) -> None:
        if life.on_host:
            self._current_host_bytes += n_bytes
            self.host_bytes = max(self.host_bytes, self._current_host_bytes)
        else:
            self.current_bytes += n_bytes

    def _resized(self, storage: torch.UntypedStorage) -> None:
        ref, life = self._alive.get(storage._cdata, (None, None))
        if ref is None or life is None or storage.nbytes() == life.n_bytes:
            return
        after = replace(life, n_bytes=storage.nbytes(), born=self.time)
        self.lives.append(after)
        self._alive[storage._cdata] = (ref, after)
        self._add(life, after.n_bytes - life.n_bytes)
        life.died = self.time

    def _settle(self, operator: str) -> None:
        phase = self.place.phase
        peak = self._peaks.get(phase)
        if peak is not None and self.current_bytes <= peak.n_bytes:
            return
        moment = Moment(phase, operator, self.place.module)
        self._peaks[phase] = _Peak(self.current_bytes, self.time, moment)
        if self._cap_bytes is not None and self.current_bytes > self._cap_bytes:
            raise CapExceeded(self.current_bytes, self._cap_bytes, moment)

    def _mark(self, category: str, named: Iterable[tuple[str, str, Tensor]]) -> None:
        """Tensors, each with the parameter or buffer that it belongs to and what it is of it."""
        for owner, part, tensor in list(named):
            for storage in storages(tensor):
                known = self._alive.get(storage._cdata)
                if known is not None and known[1].category == BUCKETS:
                    continue
                self._see(storage, tensor, category)
                life = self._alive[storage._cdata][1]
                if owner:
                    life.name, life.module = owner + part, owner.rpartition(".")[0]

    def _mark_results(self) -> None:
        """Gradients and state are known as such only when they are in their place."""
        named = list(self._model.named_parameters())
        self._mark("gradients", [(n, ".grad", p.grad) for n, p in named if p.grad is not None])
        if self._optimizer is None:
            return
        names = {id(parameter): name for name, parameter in named}
        for parameter, state in list(self._optimizer.state.items()):
            owner = names.get(id(parameter), "")
            parts = state.items() if isinstance(state, Mapping) else [("state", state)]
            for key, value in parts:
                self._mark("optimizer_state", [(owner, f".{key}", t) for t in tensors(value)])

    def _follow_resizes(self) -> None:
        """A storage resized by its own method passes no operator, yet frees memory at once."""
        original = self._resize = torch.UntypedStorage.resize_

        def resize_(storage: torch.UntypedStorage, size: int) -> Any:
            result = original(storage, size)
            self._passed("storage.resize_")
            self._resized(storage)
            self._settle("storage.resize_")
            return result

        torch.UntypedStorage.resize_ = resize_  # type: ignore
