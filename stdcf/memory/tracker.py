"""Counts the life of every tensor's storage during a training step."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stdcf.memory.report import MIB, Moment

CATEGORIES = (
    "parameters",
    "buffers",
    "gradients",
    "optimizer_state",
    "batch",
    "activations",
    "temporaries",
)


class CapExceeded(RuntimeError):
    """More bytes were alive than the cap allows.

    Attributes:
        peak_bytes, cap_bytes: what was alive, and what was allowed.
        moment: where in the step.
    """

    def __init__(self, peak_bytes: int, cap_bytes: int, moment: Moment) -> None:
        super().__init__(
            f"{peak_bytes / MIB:,.1f} MiB alive, over the cap of {cap_bytes / MIB:,.1f} MiB "
            f"({moment})"
        )
        self.peak_bytes = peak_bytes
        self.cap_bytes = cap_bytes
        self.moment = moment


@dataclass(slots=True)
class _Life:
    """One storage from birth to death; times are numbers of operators, deaths exclusive."""

    n_bytes: int
    category: str | None
    born: int
    born_in: str
    passes_before_birth: int
    died: int | None = None
    passes_before_death: int | None = None

    def alive_at(self, time: int) -> bool:
        return self.born <= time and (self.died is None or self.died > time)

    def final_category(self) -> str:
        if self.category is not None:
            return self.category
        # What forward makes and a backward pass finds is kept for it; the rest was passing.
        if self.born_in == "forward" and self.passes_before_death != self.passes_before_birth:
            return "activations"
        return "temporaries"


class LifeTracker(TorchDispatchMode):
    """Counts the bytes of every storage alive while one training step runs under it.

    Works alike on fake tensors (a prediction) and on real ones (a measurement). A storage counts
    once however many views it has, from the operator that returns it until nothing refers to it.
    What an operator allocates and frees within itself is not seen; nor is what was alive before and
    belongs neither to the model, the optimiser nor the batch.

    Args:
        model, optimizer: their parameters, buffers, gradients and state count from the start.
        batch: the tensors of the batch, alive throughout.
        cap_bytes: raise `CapExceeded` as soon as more are alive.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        batch: Iterable[Tensor] = (),
        cap_bytes: int | None = None,
    ) -> None:
        super().__init__()
        self.current_bytes = 0
        self.peak_bytes = 0
        self.peak_moment = Moment("forward", "start", "")
        self._model, self._optimizer, self._batch = model, optimizer, tuple(batch)
        self._cap_bytes = cap_bytes
        self._lives: list[_Life] = []
        self._alive: dict[int, tuple[weakref.ref[Any], _Life]] = {}
        self._time = self._peak_time = 0
        self._names = {id(module): name for name, module in model.named_modules()}
        self._module_stack: list[str] = []
        self._backward_module = ""
        self._in_optimizer = False
        self._passes, self._last_phase = 0, "forward"
        self._undo: list[Callable[[], None]] = []

    def breakdown(self) -> dict[str, int]:
        """Bytes per category at the peak; complete once the step is over. Sums to `peak_bytes`."""
        sums = dict.fromkeys(CATEGORIES, 0)
        for life in self._lives:
            if life.alive_at(self._peak_time):
                sums[life.final_category()] += life.n_bytes
        return sums

    @property
    def phase(self) -> str:
        """What is running: "forward", "backward" or "optimizer"."""
        if self._in_optimizer:
            return "optimizer"
        # Private, and what torch.utils.module_tracker itself asks; a test pins it.
        return "forward" if torch._C._current_graph_task_id() == -1 else "backward"

    def __enter__(self) -> Self:
        self._mark("parameters", self._model.parameters())
        self._mark("buffers", self._model.buffers())
        self._mark("batch", self._batch)
        self._mark_results()
        self._settle("start")
        self._follow_modules()
        self._follow_optimizer()
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
        while self._undo:
            self._undo.pop()()
        # The batch and the callbacks on every storage must not outlive the step.
        self._batch = ()
        self._alive.clear()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        phase = self.phase
        if phase == "backward" and self._last_phase != "backward":
            self._passes += 1
        self._last_phase = phase
        out = func(*args, **(kwargs or {}))
        self._time += 1
        given = set()
        for storage in storages((args, kwargs)):
            given.add(storage._cdata)
            self._resized(storage)
        for storage in storages(out):
            # A view of something that was never ours does not make it ours.
            if storage._cdata not in given:
                self._see(storage)
        self._settle(f"{func.namespace}.{func._opname}")
        return out

    def _see(self, storage: torch.UntypedStorage, category: str | None = None) -> None:
        key = storage._cdata
        if key in self._alive:
            if category is not None:
                self._alive[key][1].category = category
            self._resized(storage)
            return
        life = _Life(storage.nbytes(), category, self._time, self.phase, self._passes)
        self._lives.append(life)
        self._alive[key] = (weakref.ref(storage, lambda _: self._die(key)), life)
        self.current_bytes += life.n_bytes

    def _die(self, key: int) -> None:
        _, life = self._alive.pop(key)
        life.died, life.passes_before_death = self._time + 1, self._passes
        self.current_bytes -= life.n_bytes

    def _resized(self, storage: torch.UntypedStorage) -> None:
        ref, life = self._alive.get(storage._cdata, (None, None))
        if ref is None or life is None or storage.nbytes() == life.n_bytes:
            return
        after = replace(life, n_bytes=storage.nbytes(), born=self._time)
        self._lives.append(after)
        self._alive[storage._cdata] = (ref, after)
        self.current_bytes += after.n_bytes - life.n_bytes
        life.died = self._time

    def _settle(self, operator: str) -> None:
        if self.current_bytes <= self.peak_bytes:
            return
        phase = self.phase
        if self._module_stack:
            module = self._module_stack[-1]
        else:
            module = self._backward_module if phase == "backward" else ""
        self.peak_bytes, self._peak_time = self.current_bytes, self._time
        self.peak_moment = Moment(phase, operator, module)
        if self._cap_bytes is not None and self.current_bytes > self._cap_bytes:
            raise CapExceeded(self.current_bytes, self._cap_bytes, self.peak_moment)

    def _mark(self, category: str, tensors: Iterable[Tensor]) -> None:
        for storage in storages(list(tensors)):
            self._see(storage, category)

    def _mark_results(self) -> None:
        """Gradients and state are known as such only when they are in their place."""
        self._mark("gradients", [p.grad for p in self._model.parameters() if p.grad is not None])
        if self._optimizer is not None:
            self._mark("optimizer_state", tree_leaves(list(self._optimizer.state.values())))

    def _follow_modules(self) -> None:
        def enter(module: nn.Module, args: Any) -> None:
            self._module_stack.append(self._names.get(id(module), type(module).__name__))

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            name = self._module_stack.pop()
            for tensor in tree_leaves(out):
                node = tensor.grad_fn if isinstance(tensor, Tensor) else None
                # The innermost module leaves first and keeps the node.
                if node is None:
                    continue
                known: dict[object, object] = node.metadata  # type: ignore[assignment]
                if self not in known:
                    known[self] = name
                    node.register_prehook(lambda grads: self._set_backward_module(name))

        self._undo += [
            register_module_forward_pre_hook(enter).remove,
            register_module_forward_hook(leave, always_call=True).remove,
        ]

    def _set_backward_module(self, name: str) -> None:
        self._backward_module = name

    def _follow_optimizer(self) -> None:
        def before(*_: Any) -> None:
            self._mark_results()
            self._in_optimizer = True

        def after(*_: Any) -> None:
            self._in_optimizer = False
            self._mark_results()

        if self._optimizer is not None:
            self._undo += [
                self._optimizer.register_step_pre_hook(before).remove,
                self._optimizer.register_step_post_hook(after).remove,
            ]

    def _follow_resizes(self) -> None:
        """A storage resized by its own method passes no operator, yet frees memory at once."""
        original = torch.UntypedStorage.resize_

        def resize_(storage: torch.UntypedStorage, size: int) -> Any:
            result = original(storage, size)
            self._time += 1
            self._resized(storage)
            self._settle("storage.resize_")
            return result

        torch.UntypedStorage.resize_ = resize_  # type: ignore
        self._undo.append(lambda: setattr(torch.UntypedStorage, "resize_", original))


def storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    """The storages of all tensors in nested containers, one for each tensor."""
    for leaf in tree_leaves(tree):
        # Meta tensors have sizes but no memory, and sparse ones no storage of their own.
        if isinstance(leaf, Tensor) and leaf.layout == torch.strided and not leaf.is_meta:
            yield leaf.untyped_storage()
