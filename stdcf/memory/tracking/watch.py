"""Holds every step to a cap: all that is alive, counted as cheaply as it can be."""

import gc
import weakref
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stdcf.memory.tracking.lives import attribute_tensors, lies_on_host, makes_on_host, storages
from stdcf.memory.tracking.moment import Moment
from stdcf.memory.tracking.place import Place
from stdcf.memory.tracking.tracker import QUESTIONS, CapExceeded


class CapWatch(TorchDispatchMode):
    """Counts the bytes of all storages that the pieces of work under it have made and not freed.

    Unlike `LifeTracker` it is made once for a run and entered for every step and every test batch:
    what one leaves behind still counts in the next, so that a leak is held to the cap as well. It
    knows of each storage nothing but its size, and takes about half of `LifeTracker`'s time: on a
    CPU some 25 µs an operator.

    Args:
        model: its parameters, buffers and gradients count.
        cap_bytes: raise `CapExceeded` as soon as more are alive.

    Attributes:
        current_bytes: alive now, of all that it has seen.
    """

    def __init__(self, model: nn.Module, cap_bytes: int) -> None:
        super().__init__()
        self.current_bytes = 0
        self._model, self._cap_bytes = model, cap_bytes
        self._alive: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._optimizer: Optimizer | None = None
        self._batch: Any = ()
        self._resize = torch.UntypedStorage.resize_

    def over(self, batch: Any, optimizer: Optimizer | None = None) -> Self:
        """To be entered: `with watch.over(batch, optimizer): …`.

        Args:
            batch: tensors in nested lists, tuples and dicts; they count.
            optimizer: its state counts.
        """
        self._batch, self._optimizer = batch, optimizer
        return self

    def __enter__(self) -> Self:
        self._place = Place(self._model, self._optimizer, around_optimizer=lambda: None)
        parameters = list(self._model.parameters())
        self._see([self._batch, parameters, list(self._model.buffers())])
        self._see(list(attribute_tensors(self._model)))
        self._see([p.grad for p in parameters if p.grad is not None])
        if self._optimizer is not None:
            state = tree_leaves(list(self._optimizer.state.values()))
            self._see([value for value in state if not lies_on_host(value)])
        self._batch = ()
        self._hold("start")
        self._place.follow()
        self._follow_resizes()
        return super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        self._place.leave()
        self._optimizer = None
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in QUESTIONS or getattr(func, "is_view", False):
            return out
        # What is written into something that was never ours does not make it ours.
        self._see(out, known_only=func._schema.is_mutable)
        if self.current_bytes > self._cap_bytes:
            self._hold(f"{func.namespace}.{func._opname}")
        return out

    def _see(self, tree: Any, known_only: bool = False) -> None:
        for storage in storages(tree):
            self._count(storage, known_only)

    def _count(self, storage: torch.UntypedStorage, known_only: bool) -> None:
        key, n_bytes = storage._cdata, storage.nbytes()
        ref, before_bytes = self._alive.get(key, (None, 0))
        if ref is None:
            if known_only or makes_on_host():
                return
            ref = weakref.ref(storage, partial(self._die, key))
        if n_bytes != before_bytes or key not in self._alive:
            self.current_bytes += n_bytes - before_bytes
            self._alive[key] = ref, n_bytes

    def _die(self, key: int, _: object) -> None:
        self.current_bytes -= self._alive.pop(key)[1]

    def _hold(self, operator: str) -> None:
        if self.current_bytes > self._cap_bytes:
            # What lies in cycles, as a replaced optimiser does, is nobody's.
            gc.collect()
        if self.current_bytes > self._cap_bytes:
            moment = Moment(self._place.phase, operator, self._place.module)
            raise CapExceeded(self.current_bytes, self._cap_bytes, moment)

    def _follow_resizes(self) -> None:
        """A storage resized by its own method passes no operator, yet frees memory at once."""
        original = self._resize = torch.UntypedStorage.resize_

        def resize_(storage: torch.UntypedStorage, size: int) -> Any:
            result = original(storage, size)
            self._count(storage, known_only=True)
            self._hold("storage.resize_")
            return result

        torch.UntypedStorage.resize_ = resize_  # type: ignore
