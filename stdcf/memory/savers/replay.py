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
from torch.utils import checkpoint as torch_checkpoint

from stdcf.errors import UserError
from stdcf.memory.savers.containers import KINDS, MAX_ITEMS, Contents, copied

# Attributes of up to so many values may be a state; larger ones are what somebody looks at.
MAX_STATE_VALUES = 2**16
_MISSING = object()
_PLAIN = (type(None), bool, int, float, complex, str)
# What torch itself keeps in a module: hooks, parameters.
_OF_TORCH = frozenset(vars(nn.Module()))


@dataclass
class _Slot:
    """A buffer or an attribute of a module before the first run.

    Attributes:
        copy: of a tensor or a container.
        before: a tensor's version, or what a container held.
    """

    owner: dict[str, Any]
    name: str
    value: Any
    copy: Any = None
    before: int | Contents = 0

    def has_changed(self) -> bool:
        now = self.owner.get(self.name, _MISSING)
        return now is not self.value or (self.copy is not None and _state(now) != self.before)

    def has_other_values(self) -> bool:
        """Whether a buffer was written to behind its version's back (through .data)."""
        now = self.owner.get(self.name)
        if not isinstance(now, Tensor) or now is not self.value or self.copy is None:
            return False
        return not _equal(now, self.copy)

    def put_back(self, memo: dict[int, Any]) -> None:
        """The value as it was, another copy each time.

        Args:
            memo: id -> what stands in for an object: two modules may have the same one.
        """
        if self.value is _MISSING:
            self.owner.pop(self.name, None)
        else:
            if isinstance(self.copy, Tensor) and id(self.copy) not in memo:
                memo[id(self.copy)] = self.copy.clone()
            self.owner[self.name] = self.value if self.copy is None else copied(self.copy, memo)


class FirstRun:
    """What a block had in its buffers, its small attributes and the generators before it ran.

    Attributes that are lists, dicts or sets count, with the containers and small tensors in them.

    Args:
        secret: of (dictionary's id, name), buffers that change without a new version; with
            `look`, more are added.
    """

    def __init__(self, block: nn.Module, secret: set[tuple[int, str]], look: bool) -> None:
        self._block, self._secret, self._look = block, secret, look
        copies: dict[int, Any] = {}
        tensors = [slot for module in block.modules() for slot in _slots_of(module, copies)]
        # A container may hold such a tensor, which has to stay one with it.
        containers = [slot for module in block.modules() for slot in _containers(module, copies)]
        self._slots = tensors + containers
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
        held = [(slot.value, _state(slot.value)) for slot in self._slots if slot.copy is not None]
        copies: dict[int, Any] = {}
        for slot in self._slots:
            slot.put_back(copies)
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
            changed = any(buffer._version != version for buffer, version in versions)
            if changed or any(_state(value) != state for value, state in held):
                raise UserError(
                    f"checkpoint would change a buffer or attribute of "
                    f"{type(self._block).__name__} twice, which something beside its module refers "
                    "to: leave checkpoint out"
                )

    def _owners(self) -> Iterator[dict[str, Any]]:
        for module in self._block.modules():
            yield module._buffers
            yield module.__dict__


class Draws:
    """The state of torch's own generators before a run, on the host and where its tensors are."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self._host = torch.get_rng_state()
        self._devices, self._states = torch_checkpoint.get_device_states(*tensors)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within, the same numbers are drawn once more."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._host)
            torch_checkpoint.set_device_states(self._devices, self._states)
            yield


def _slots_of(module: nn.Module, copies: dict[int, Any]) -> Iterator[_Slot]:
    for name, buffer in module._buffers.items():
        if buffer is None or is_lazy(buffer):
            yield _Slot(module._buffers, name, buffer)
        else:
            yield _tensor_slot(module._buffers, name, buffer, copies)
    for name, value in module.__dict__.items():
        if isinstance(value, _PLAIN):
            yield _Slot(module.__dict__, name, value)
        elif isinstance(value, Tensor) and _is_small_state(value):
            yield _tensor_slot(module.__dict__, name, value, copies)


def _tensor_slot(owner: dict[str, Any], name: str, tensor: Tensor, copies: dict[int, Any]) -> _Slot:
    if id(tensor) not in copies:
        copies[id(tensor)] = tensor.clone()
    return _Slot(owner, name, tensor, copies[id(tensor)], tensor._version)


def _containers(module: nn.Module, copies: dict[int, Any]) -> Iterator[_Slot]:
    for name, value in module.__dict__.items():
        if isinstance(value, KINDS) and name not in _OF_TORCH:
            contents = Contents(value)
            if len(contents) <= MAX_ITEMS:
                yield _Slot(module.__dict__, name, value, copied(value, copies), contents)


def _state(value: Any) -> int | Contents:
    return value._version if isinstance(value, Tensor) else Contents(value)


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
