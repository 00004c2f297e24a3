"""Normalised and activated maps that are computed again rather than kept."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from stdcf.memory.savers.packing import Packed, Packing, Reference, is_suspended
from stdcf.memory.savers.saver import Saver
from stdcf.memory.tracking.lives import storages

# These keep their input for their own backward, so their output need not be kept beside it.
_KEEP_INPUT = frozenset({F.batch_norm, F.layer_norm, F.group_norm, F.gelu, F.silu, F.hardswish})
# ReLU keeps its output; where its input can be had again, so can that.
_RELUS = frozenset({F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})


class Recompute(Saver):
    """Keeps one map of a normalisation and its activation rather than two.

    A normalisation keeps its input for backward, and the next layer keeps the normalised, activated
    map. The latter is computed again from the former, by the same operators, so no bit differs;
    running statistics are not touched again. In-place ABN (Rota Bulò et al. 2018) saves as much by
    inverting the operators, which needs an activation that can be inverted.
    """

    name = "recompute"
    costs = "normalisation and activation again"

    @contextmanager
    def forward(self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing) -> Iterator[None]:
        with Watch(packing) as watch:
            packing.packers.append(watch.pack)
            yield


@dataclass(eq=False)
class _Recipe:
    """A function of one kept tensor, and of others that must not change (weight, bias)."""

    source: Packed
    function: Callable[[Tensor], Tensor]
    autocast: Callable[[], AbstractContextManager[object]]
    others: tuple[Reference, ...] = ()

    def unpack(self) -> Tensor:
        for other in self.others:
            other.unpack()
        with torch.no_grad(), self.autocast():
            return self.function(self.source.unpack())


@dataclass(frozen=True)
class _Known:
    """Which tensor a recipe gives: all but a recipe's own storage."""

    storage: weakref.ref[Any]
    look: tuple[Any, ...]
    recipe: _Recipe


class Watch(TorchFunctionMode):
    """Sees normalisations and activations run, and packs what they make as recipes.

    Args:
        is_on: whether what runs just now is to be computed again.
    """

    def __init__(self, packing: Packing, is_on: Callable[[], bool] = lambda: True) -> None:
        super().__init__()
        self._packing, self._is_on = packing, is_on
        self._recipes: dict[int, _Known] = {}
        self._coming: _Recipe | None = None

    def pack(self, tensor: Tensor) -> Packed | None:
        """A recipe for a tensor that one of them has made; None for others."""
        return self._coming or self._recipe_of(tensor)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        relu = func in _RELUS
        watched = (relu or func in _KEEP_INPUT) and self._is_on()
        transformed = peek_interpreter_stack() is not None
        if not watched or is_suspended() or transformed or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        source: Tensor = args[0] if args else kwargs["input"]
        known = self._recipe_of(source)
        if relu:
            return self._relu(func, args, kwargs, known)
        self._packing.compute_from(source)
        version = source._version
        again, others = _again(func, args[1:], kwargs)
        out = func(*args, **kwargs)
        # Changed in place, the source is not what the function was given.
        is_there = known is not None or source._version == version
        # Where autocast changed the type, something else than the source was kept.
        if is_there and out.requires_grad and out.dtype == source.dtype:
            kept = known or self._packing.pack(source)
            self._remember(out, _Recipe(kept, again, _autocast_now(source), others))
        return out

    def _relu(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        known: _Recipe | None,
    ) -> Tensor:
        if known is None:
            return func(*args, **kwargs)
        # In place, for what a recipe gives is nobody else's.
        recipe = _Recipe(known, torch.relu_, nullcontext)
        # ReLU saves its result before it returns it.
        self._coming = recipe
        try:
            out = func(*args, **kwargs)
        finally:
            self._coming = None
        self._remember(out, recipe)
        return out

    def _recipe_of(self, tensor: Tensor) -> _Recipe | None:
        storage = next(storages(tensor), None)
        if storage is None or storage._cdata not in self._recipes:
            return None
        known = self._recipes[storage._cdata]
        same = known.storage() is storage and known.look == _look(tensor)
        return known.recipe if same else None

    def _remember(self, tensor: Tensor, recipe: _Recipe) -> None:
        for storage in storages(tensor):
            key = storage._cdata
            # Once nobody reads the map any more, its recipe must not hold the source.
            ref = weakref.ref(storage, partial(self._forget, key))
            self._recipes[key] = _Known(ref, _look(tensor), recipe)

    def _forget(self, key: int, ref: weakref.ref[Any]) -> None:
        # Another storage may have the address by now.
        if key in self._recipes and self._recipes[key].storage is ref:
            del self._recipes[key]


def _look(tensor: Tensor) -> tuple[Any, ...]:
    """What tells tensors of one storage apart: a transposed view may have the same shape."""
    layout = (tuple(tensor.shape), tensor.stride(), tensor.storage_offset(), tensor.dtype)
    return (tensor._version, *layout, tensor.is_conj(), tensor.is_neg())


def _again(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[[Tensor], Tensor], tuple[Reference, ...]]:
    """The function of its first argument alone, and the tensors among the others."""
    kwargs = {name: value for name, value in kwargs.items() if name not in ("input", "inplace")}
    if func is F.batch_norm and kwargs.get("training"):
        # The batch's own statistics count, and the running ones are updated already.
        args = (None, None, *args[2:])
        kwargs |= {name: None for name in ("running_mean", "running_var") if name in kwargs}
    others = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]

    def again(source: Tensor) -> Tensor:
        return func(source, *args, **kwargs)

    return again, tuple(Reference.to(tensor) for tensor in others)


def _autocast_now(tensor: Tensor) -> Callable[[], AbstractContextManager[object]]:
    """The present autocast as a context for later."""
    kind = tensor.device.type
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    return partial(torch.autocast, kind, dtype, enabled=enabled)
