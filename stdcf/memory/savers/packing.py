"""How tensors that are saved for backward are kept by something smaller."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from stdcf.errors import UserError
from stdcf.memory.tracking.lives import storages

_suspended: ContextVar[bool] = ContextVar("suspended", default=False)


class Packed(Protocol):
    """What is kept instead of a tensor.

    With a true attribute `for_one` it stands for the tensor for this one operator alone; with a
    true `is_off` its values are off by a little, for operators that bear it.
    """

    def unpack(self) -> Tensor:
        """The tensor again, in its shape, type and layout."""


Packer = Callable[[Tensor], Packed | None]


class ChangedInPlace(UserError, RuntimeError):
    """A tensor that backward needs is not what it was in forward."""


@dataclass(eq=False)
class Reference:
    """A tensor itself, which must not change until backward.

    autograd checks that for what it keeps, but not for what goes through hooks.
    """

    tensor: Tensor
    version: int

    @classmethod
    def to(cls, tensor: Tensor) -> "Reference":
        return cls(tensor, tensor._version)

    def unpack(self) -> Tensor:
        """The tensor.

        Raises:
            ChangedInPlace: if its version has moved.
        """
        if self.tensor._version != self.version:
            raise ChangedInPlace(
                f"backward needs a tensor {list(self.tensor.shape)} as forward left it, and it was "
                f"changed in place afterwards (version {self.tensor._version}, kept at "
                f"{self.version}): write x = x + y for x += y, or clone it first"
            )
        return self.tensor


class Packing:
    """Gives each tensor that a forward pass saves to the first packer that takes it.

    Most maps are saved twice, by the layer that makes them and by the one that reads them; they
    are packed once. What is alive throughout the step anyway stays as it is.

    Args:
        keep: tensors that are never packed: parameters, buffers, the batch.

    Attributes:
        packers: each returns None for what it does not take; savers add theirs.
        listeners: are told of each tensor that may be packed, before it is.
        bears_off: whether the operator that saves a tensor now bears values that are off.
    """

    def __init__(self, keep: Iterable[Tensor]) -> None:
        self.packers: list[Packer] = []
        self.listeners: list[Callable[[Tensor], None]] = []
        self.bears_off: Callable[[Tensor], bool] = lambda tensor: False
        self._kept = {storage._cdata for storage in storages(list(keep))}
        self._known: dict[tuple[Any, ...], tuple[weakref.ref[Any], weakref.ref[Any]]] = {}
        self._sources: dict[int, weakref.ref[Any]] = {}

    def hooks(self) -> AbstractContextManager[object]:
        """The context around forward.

        Raises:
            UserError: within, if forward takes derivatives by torch.func, which allows no hooks.
        """
        return self._hooks() if self.packers else nullcontext()

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        try:
            with saved_tensors_hooks(self.pack, self.unpack):
                yield
        except RuntimeError as error:
            if "support saved tensor hooks" not in str(error):
                raise
            raise UserError(
                "the model takes derivatives by torch.func in its forward pass, which cannot be "
                "done where savers keep what is saved for backward: take torch.autograd.grad, or "
                "leave recompute, int8, offload, freeze and plan out"
            ) from error

    def pack(self, tensor: Tensor) -> Packed:
        """What to keep instead of a tensor: a packer's work, or a reference to the tensor."""
        tensor = tensor.detach()
        storage = next(storages(tensor), None) if is_plain(tensor) else None
        if storage is None or storage._cdata in self._kept:
            return Reference.to(tensor)
        for tell in self.listeners:
            tell(tensor)
        layout = (tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        key = (storage._cdata, *layout, tensor.dtype, tensor._version)
        storage_ref, packed_ref = self._known.get(key, (None, None))
        # A dead storage's address may belong to another one by now.
        if storage_ref is not None and packed_ref is not None and storage_ref() is storage:
            known = packed_ref()
            # The operator that saved it first may have borne more.
            if known is not None and (not _has(known, "is_off") or self._bears_off(tensor)):
                return known
        for packer in self.packers:
            packed = packer(tensor)
            if packed is not None and _has(packed, "for_one"):
                return packed
            if packed is not None:
                self._known[key] = weakref.ref(storage), weakref.ref(packed)
                return packed
        # Kept as it is by one operator, it need not be packed for another.
        reference = Reference.to(tensor)
        self._known[key] = weakref.ref(storage), weakref.ref(reference)
        return reference

    @staticmethod
    def unpack(kept: Packed) -> Tensor:
        """The tensor that was packed."""
        return kept.unpack()

    def _bears_off(self, tensor: Tensor) -> bool:
        return self.bears_off(tensor) and not self.is_source(tensor)

    def compute_from(self, tensor: Tensor) -> None:
        """Other tensors will be computed again from this one, so it must come back exact."""
        for storage in storages(tensor):
            self._sources[storage._cdata] = weakref.ref(storage)

    def is_source(self, tensor: Tensor) -> bool:
        """Whether `compute_from` was told of it."""
        storage = next(storages(tensor))
        ref = self._sources.get(storage._cdata)
        return ref is not None and ref() is storage


def _has(packed: Packed, attribute: str) -> bool:
    return bool(getattr(packed, attribute, False))


def is_plain(tensor: Tensor) -> bool:
    """Whether it has sizes and strides over one storage: no sparse or nested one."""
    return tensor.layout == torch.strided and not tensor.is_nested


@contextmanager
def suspended() -> Iterator[None]:
    """Within, `is_suspended`: what is saved here is kept by someone else."""
    token = _suspended.set(True)
    try:
        yield
    finally:
        _suspended.reset(token)


def is_suspended() -> bool:
    """Whether saved tensors are someone else's at present."""
    return _suspended.get()
