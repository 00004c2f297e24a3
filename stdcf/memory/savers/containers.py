"""Lists, dicts and sets in which a module keeps a state: whether they have changed, and copies."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from torch import Tensor

# Containers of up to so many items may be a state; larger ones are a table that somebody looks up.
MAX_ITEMS = 2**10
# Tensors in them of up to so many values are copied.
MAX_VALUES = 2**12
KINDS = (list, dict, set, deque)


class Contents:
    """What a container holds, and the containers in it, at one moment.

    Tensors are told by their identity and version, all else by its identity.
    """

    def __init__(self, container: Any) -> None:
        # The items themselves, so that no other takes over an identity.
        self._found = list(_walk(container))
        self._versions = [_version(item) for item in self._found]

    def __len__(self) -> int:
        return len(self._found)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Contents):
            return NotImplemented
        return (
            self._versions == other._versions
            and len(self) == len(other)
            and all(a is b for a, b in zip(self._found, other._found, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]


def copied(value: Any, memo: dict[int, Any]) -> Any:
    """A copy of a container, of the containers in it and of small tensors without a gradient.

    All else stays itself.

    Args:
        memo: id -> what stands in for an object; added to, so that what is one object stays one.
    """
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, Tensor) and value.grad_fn is None and not value.requires_grad:
        memo[id(value)] = value.clone() if value.numel() <= MAX_VALUES else value
        return memo[id(value)]
    if not isinstance(value, KINDS):
        return value
    new: Any = value.copy()
    memo[id(value)] = new
    if isinstance(new, dict):
        for key, item in list(new.items()):
            new[key] = copied(item, memo)
    elif isinstance(new, list | deque):
        for index, item in enumerate(value):
            new[index] = copied(item, memo)
    return new


def _walk(container: Any) -> Iterator[Any]:
    waiting, seen = [container], {id(container)}
    while waiting:
        here = waiting.pop()
        items = [*here, *here.values()] if isinstance(here, dict) else list(here)
        yield from items
        if len(items) > MAX_ITEMS:
            return
        for item in items:
            if isinstance(item, KINDS) and id(item) not in seen:
                seen.add(id(item))
                waiting.append(item)


def _version(item: Any) -> int:
    return item._version if isinstance(item, Tensor) and not item.is_inference() else 0
