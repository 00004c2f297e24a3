"""The life of one storage, and how to find the storages of anything."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.weak import WeakTensorKeyDictionary

# By identity: an attribute of the tensors would be pickled with them.
_put_on_host: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()
_on_host: ContextVar[bool] = ContextVar("on_host", default=False)


@dataclass(slots=True)
class Life:
    """One storage from birth to death; times are numbers of operators, deaths exclusive.

    Attributes:
        category: one of `tracker.CATEGORIES`; None until it is known.
        on_host: it lies in the host's memory, not in the device's.
        operator, module: what made it, and within which module; of parameters, gradients and the
            optimiser's state the parameter's module.
        name: of a parameter, buffer, gradient or state, such as "conv1.weight.grad"; else "".
        shape, dtype: of the first tensor that was seen on it.
        first_born: when the first step of all makes what every later one finds (born 0), such as
            the optimiser's state; else 0.
    """

    n_bytes: int
    category: str | None
    born: int
    born_in: str
    passes_before_birth: int
    on_host: bool = False
    died: int | None = None
    passes_before_death: int | None = None
    operator: str = ""
    module: str = ""
    name: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    first_born: int = 0

    def alive_at(self, time: int) -> bool:
        return self.born <= time and (self.died is None or self.died > time)

    def final_category(self) -> str:
        if self.category is not None:
            return self.category
        # What forward makes and a backward pass finds is kept for it; the rest was passing.
        if self.born_in == "forward" and self.passes_before_death != self.passes_before_birth:
            return "activations"
        return "temporaries"


@contextmanager
def on_host() -> Iterator[None]:
    """Storages made within lie in the host's memory, whatever their tensors' device.

    On CPU a tracker plays the device, so that what is sent to the host must be told from the rest.
    """
    token = _on_host.set(True)
    try:
        yield
    finally:
        _on_host.reset(token)


def makes_on_host() -> bool:
    """Whether `on_host` is in force."""
    return _on_host.get()


def put_on_host(tensor: Tensor) -> Tensor:
    """Marks a tensor that lies on the host from now on, whatever its device."""
    _put_on_host[tensor] = True
    return tensor


def lies_on_host(tensor: Any) -> bool:
    """Whether `put_on_host` was called with it."""
    return isinstance(tensor, Tensor) and tensor in _put_on_host


def tensors(tree: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples, mappings and dataclasses; each container once."""
    return _tensors(tree, set())


def _tensors(tree: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
        return
    if isinstance(tree, list | tuple):
        items: Iterable[Any] = tree
    elif isinstance(tree, Mapping):
        items = list(tree.values())
    elif is_dataclass(tree) and not isinstance(tree, type):
        items = [getattr(tree, field.name, None) for field in fields(tree)]
    else:
        return
    # A container may hold itself.
    if id(tree) not in seen:
        seen.add(id(tree))
        for item in items:
            yield from _tensors(item, seen)


def attribute_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Tensors that modules hold as plain attributes: neither parameters nor buffers."""
    registered = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        held = {k: v for k, v in vars(module).items() if k not in _REGISTERED}
        yield from (tensor for tensor in tensors(held) if id(tensor) not in registered)


_REGISTERED = frozenset({"_parameters", "_buffers", "_modules"})


def storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    """The storages of all tensors in such a tree; a wrapper's are those of what it holds."""
    for tensor in tensors(tree):
        if tensor.layout in _COMPRESSED:
            yield from storages([getattr(tensor, part)() for part in _COMPRESSED[tensor.layout]])
        elif tensor.layout == torch.sparse_coo:
            yield from storages([tensor._indices(), tensor._values()])
        elif tensor.is_quantized or type(tensor) in (Tensor, nn.Parameter, FakeTensor):
            # Meta tensors have sizes but no memory.
            if tensor.layout == torch.strided and not tensor.is_meta:
                yield tensor.untyped_storage()
        elif is_traceable_wrapper_subclass(tensor):
            names, _ = tensor.__tensor_flatten__()
            yield from storages([getattr(tensor, name) for name in names])
        elif tensor.layout == torch.strided and not tensor.is_meta:
            held = list(tensors(vars(tensor)))
            # A wrapper has sizes of its own and no memory behind them.
            if held and not isinstance(tensor, FakeTensor) and tensor.data_ptr() == 0:
                yield from storages(held)
            else:
                yield tensor.untyped_storage()


_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}
