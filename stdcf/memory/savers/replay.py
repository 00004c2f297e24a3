"""A second run of a block: it must find what the first one found, and leave no trace."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy

from stdcf.errors import UserError

# Attributes of up to so many values may be a state; larger ones are what somebody looks at.
MAX_STATE_VALUES = 2**16
_MISSING = object()
_PLAIN = (type(None), bool, int, float, complex, str)


@dataclass
class _Slot:
    """A buffer or an attribute of a module before the first run."""

    owner: dict[str, Any]
    name: str
    value: Any
    version: int = 0
    copy: Tensor | None = None

    def has_changed(self) -> bool:
        now = self.owner.get(self.name, _MISSING)
        return now is not self.value or (self.copy is not None and now._version != self.version)

    def has_other_values(self) -> bool:
        """Whether a buffer was written to behind its version's back (through .data)."""
        now = self.owner.get(self.name)
        return self.copy is not None and now is self.value and not _equal(now, self.copy)

    def put_back(self) -> None:
        """The value as it was, another copy each time."""
        if self.value is _MISSING:
            self.owner.pop(self.name, None)
        else:
            self.owner[self.name] = self.value if self.copy is None else self.copy.clone()


class FirstRun:
    """What a block had in its buffers, its small attributes and the generators before it ran.

    Args:
        secret: of (dictionary's id, name), buffers that change without a new version; with
            `look`, more are added.
    """

    def __init__(self, block: nn.Module, secret: set[tuple[int, str]], look: bool) -> None:
        self._block, self._secret, self._look = block, secret, look
        self._slots = [slot for module in block.modules() for slot in _slots_of(module)]
        self._names = [(o, set(o)) for o in self._owners()]
        self._generators = _generators(block)
        self._states = [read() for read, _ in self._generators]

    def over(self) -> None:
        """Right after the first run: what has not changed need not be kept."""
        for slot in self._slots if self._look else ():
            if not slot.has_changed() and slot.has_other_values():
                self._secret.add((id(slot.owner), slot.name))
        new = [
            _Slot(owner, name, _MISSING)
            for owner, before in self._names
            for name in owner.keys() - before
        ]
        self._slots = new + [
            slot
            for slot in self._slots
            if slot.has_changed() or (id(slot.owner), slot.name) in self._secret
        ]
        self._names = []

    @contextmanager
    def again(self) -> Iterator[None]:
        """Around the second run.

        Raises:
            UserError: if the run has changed a buffer all the same.
        """
        now = [(owner, dict(owner)) for owner in self._owners()]
        versions = [(b, b._version) for b in self._block.buffers() if not is_lazy(b)]
        for slot in self._slots:
            slot.put_back()
        states = [read() for read, _ in self._generators]
        for (_, write), state in zip(self._generators, self._states, strict=True):
            write(state)
        try:
            yield
        finally:
            for (_, write), state in zip(self._generators, states, strict=True):
                write(state)
            for owner, kept in now:
                for name in owner.keys() - kept.keys():
                    del owner[name]
                owner.update(kept)
            # Here, for torch ends a second run by an exception.
            if any(buffer._version != version for buffer, version in versions):
                raise UserError(
                    f"checkpoint would update a buffer of {type(self._block).__name__} twice, "
                    "which something beside its module refers to: leave checkpoint out"
                )

    def _owners(self) -> Iterator[dict[str, Any]]:
        for module in self._block.modules():
            yield module._buffers
            yield module.__dict__


def _slots_of(module: nn.Module) -> Iterator[_Slot]:
    for name, buffer in module._buffers.items():
        if buffer is None or is_lazy(buffer):
            yield _Slot(module._buffers, name, buffer)
        else:
            yield _Slot(module._buffers, name, buffer, buffer._version, buffer.clone())
    for name, value in module.__dict__.items():
        if isinstance(value, _PLAIN):
            yield _Slot(module.__dict__, name, value)
        elif isinstance(value, Tensor) and _is_small_state(value):
            yield _Slot(module.__dict__, name, value, value._version, value.clone())


def _equal(a: Tensor, b: Tensor) -> bool:
    # Of a prediction's buffers nobody knows.
    return isinstance(a, FakeTensor) or torch.equal(a, b)


def _is_small_state(value: Tensor) -> bool:
    return value.is_leaf and not value.requires_grad and value.numel() <= MAX_STATE_VALUES


_Generator = tuple[Callable[[], Any], Callable[[Any], Any]]


def _generators(block: nn.Module) -> list[_Generator]:
    """Ways to read and write every generator that torch's checkpoint does not put back."""
    found: list[_Generator] = [(random.getstate, random.setstate)]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        found.append((numpy.random.get_state, numpy.random.set_state))
    for module in block.modules():
        for value in module.__dict__.values():
            if isinstance(value, torch.Generator):
                found.append((value.get_state, value.set_state))
    return found
