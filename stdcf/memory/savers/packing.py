"""How tensors that are saved for backward are kept by something smaller."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from stdcf.errors import UserError
from stdcf.memory.tracking.lives import storages

_suspended: ContextVar[bool] = ContextVar("suspended", default=False)


class Packed(Protocol):
    """What is kept instead of a tensor."""

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
        packers: each returns None for what it does not take; savers add theirs. What has a true
            attribute `for_one` stands for the tensor for this one operator alone.
        listeners: are told of each tensor that may be packed, before it is.
    """

    def __init__(self, keep: Iterable[Tensor]) -> None:
        self.packers: list[Packer] = []
        self.listeners: list[Callable[[Tensor], None]] = []
        self._kept = {storage._cdata for storage in storages(list(keep))}
        self._known: dict[tuple[Any, ...], tuple[weakref.ref[Any], weakref.ref[Any]]] = {}
        self._sources: dict[int, weakref.ref[Any]] = {}

    def hooks(self) -> AbstractContextManager[object]:
        """The context around forward."""
        return saved_tensors_hooks(self.pack, self.unpack) if self.packers else nullcontext()

    def pack(self, tensor: Tensor) -> Packed:
        """What to keep instead of a tensor: a packer's work, or a reference to the tensor."""
        tensor = tensor.detach()
        storage = next(storages(tensor), None)
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
            if known is not None:
                return known
        for packer in self.packers:
            packed = packer(tensor)
            if packed is not None and getattr(packed, "for_one", False):
                return packed
            if packed is not None:
                self._known[key] = weakref.ref(storage), weakref.ref(packed)
                return packed
        return Reference.to(tensor)

    @staticmethod
    def unpack(kept: Packed) -> Tensor:
        """The tensor that was packed."""
        return kept.unpack()

    def compute_from(self, tensor: Tensor) -> None:
        """Other tensors will be computed again from this one, so it must come back exact."""
        for storage in storages(tensor):
            self._sources[storage._cdata] = weakref.ref(storage)

    def is_source(self, tensor: Tensor) -> bool:
        """Whether `compute_from` was told of it."""
        storage = next(storages(tensor))
        ref = self._sources.get(storage._cdata)
        return ref is not None and ref() is storage


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
