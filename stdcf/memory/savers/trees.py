"""Trees of tensors, as models take and give them, with their tensors changed or cut."""

import copy
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from stdcf.errors import UserError
from stdcf.memory.tracking.lives import tensors


def map_tensors(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """A copy of nested lists, tuples, mappings and dataclasses with every tensor changed.

    Kinds are kept. What stands in several places is changed once.
    """
    return _mapped(tree, lambda item: change(item) if isinstance(item, Tensor) else None, {})


def part_of(tree: Any, size: int, cut: slice) -> Any:
    """The same tree for some clips of a batch.

    A tensor whose first dimension is the batch's size is cut, and a list or tuple of as many items
    of which none holds such a tensor; all else stays.

    Raises:
        UserError: for a list that could be either, or be no list of clips.
    """

    def change(item: Any) -> Any:
        if isinstance(item, Tensor):
            return item[cut] if _of_batch(item, size) else item
        plain = type(item) in (list, tuple)
        if not plain or len(item) != size or size < 2:
            return None
        if all(isinstance(value, int | float) for value in item):
            if isinstance(item, tuple):
                return item
            raise UserError(
                f"a batch of {size} clips is to be learnt in parts, and a list of {size} numbers "
                "may be of the clips or not: make it a tensor if it is, a tuple if not"
            )
        whole = [any(_of_batch(t, size) for t in tensors(value)) for value in item]
        if not any(whole):
            return item[cut]
        if all(whole):
            raise UserError(
                f"a batch of {size} clips is to be learnt in parts, and a list of {size} tensors "
                f"of first dimension {size} may hold one for each clip or whole batches: take "
                "another batch size"
            )
        return None

    return _mapped(tree, change, {})


def part_of_batch(batch: Any, size: int, cut: slice) -> Any:
    """`part_of` of a whole batch: a list or tuple of clips and labels is not a list of clips."""
    if type(batch) in (list, tuple):
        return type(batch)(part_of(item, size, cut) for item in batch)
    return part_of(batch, size, cut)


def batch_size(batch: Any) -> int | None:
    """The first dimension of the first tensor that stands in no list: there it may be one clip's.

    A batch that is a list or tuple itself is looked into. None where there is no such tensor.
    """
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else None
    if isinstance(batch, list | tuple):
        items: list[Any] = [item for item in batch if not isinstance(item, list | tuple)]
    elif isinstance(batch, Mapping):
        items = [item for item in batch.values() if not isinstance(item, list | tuple)]
    elif is_dataclass(batch):
        items = [getattr(batch, part.name, None) for part in fields(batch)]
        items = [item for item in items if not isinstance(item, list | tuple)]
    else:
        return None
    sizes = (batch_size(item) for item in items)
    return next((size for size in sizes if size is not None), None)


def _of_batch(tensor: Tensor, size: int) -> bool:
    return tensor.ndim > 0 and len(tensor) == size


def _mapped(tree: Any, change: Callable[[Any], Any], memo: dict[int, Any]) -> Any:
    """`change` gives what stands in an item's place, or None to look into it."""
    if id(tree) in memo:
        return memo[id(tree)]
    changed = change(tree)
    if changed is not None:
        memo[id(tree)] = changed
        return changed
    if isinstance(tree, list):
        memo[id(tree)] = out = copy.copy(tree)
        out[:] = [_mapped(item, change, memo) for item in tree]
        return out
    if isinstance(tree, tuple):
        items = tuple(_mapped(item, change, memo) for item in tree)
        if type(tree) is tuple:
            return items
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, MutableMapping):
        # transformers' outputs are mappings and dataclasses; setting an item sets both.
        memo[id(tree)] = filled = copy.copy(tree)
        for key, value in tree.items():
            filled[key] = _mapped(value, change, memo)
        return filled
    if isinstance(tree, Mapping):
        return {key: _mapped(value, change, memo) for key, value in tree.items()}
    if is_dataclass(tree) and not isinstance(tree, type):
        memo[id(tree)] = changed = copy.copy(tree)
        for name in (part.name for part in fields(tree) if hasattr(tree, part.name)):
            # A frozen one too.
            object.__setattr__(changed, name, _mapped(getattr(tree, name), change, memo))
        return changed
    return tree
