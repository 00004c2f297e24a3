"""Activation checkpointing by block."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from stdcf.errors import UserError
from stdcf.memory.cuda.cuda_operators import operators_of_now
from stdcf.memory.savers.packing import Packing, suspended
from stdcf.memory.savers.saver import Saver


class Checkpoint(Saver):
    """Keeps each block's input alone and runs the block again in the backward pass (Chen et al.
    2016), by torch.utils.checkpoint.

    Dropout draws the same masks again. Running statistics are updated by the first run alone: the
    second one works on copies of them.
    """

    name = "checkpoint"

    def forward(
        self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing
    ) -> AbstractContextManager[object]:
        return _checkpointed(list(blocks(model).values()), packing)


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that are checkpointed, by name.

    These are the composite members of every nn.Sequential and nn.ModuleList, and each nn.Sequential
    of plain layers (a stem); nothing within a block is a block, and neither is a convolution layer
    that is made of several.

    Raises:
        UserError: if there is none.
    """
    found = dict(_blocks(model, ""))
    if not found:
        raise UserError(
            f"checkpoint finds no blocks in {type(model).__name__}: it takes the members of "
            "nn.Sequential and nn.ModuleList that are made of several layers"
        )
    return found


def _blocks(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        child_path = f"{path}.{name}" if path else name
        if not _is_composite(child):
            continue
        row = isinstance(child, nn.Sequential | nn.ModuleList)
        if row and any(_is_composite(grandchild) for grandchild in child.children()):
            yield from _blocks(child, child_path)
        elif isinstance(module, nn.Sequential | nn.ModuleList) or isinstance(child, nn.Sequential):
            yield child_path, child
        else:
            yield from _blocks(child, child_path)


def _is_composite(module: nn.Module) -> bool:
    return any(True for _ in module.children()) and not callable(getattr(module, "parts", None))


@contextmanager
def _checkpointed(modules: list[nn.Module], packing: Packing) -> Iterator[None]:
    """Within, each module's forward is checkpointed; the modules are left as they were."""
    before = [module.__dict__.get("forward") for module in modules]
    for module in modules:
        module.forward = partial(_run, packing, module, module.forward)
    try:
        yield
    finally:
        for module, forward in zip(modules, before, strict=True):
            if forward is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = forward


def _run(
    packing: Packing, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    for value in tree_leaves((args, kwargs)):
        if isinstance(value, Tensor):
            packing.compute_from(value)

    operators = operators_of_now()

    @contextmanager
    def again() -> Iterator[None]:
        with operators(), _copied_statistics(module):
            yield

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return suspended(), again()

    return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _copied_statistics(block: nn.Module) -> AbstractContextManager[None]:
    norms = [m for m in block.modules() if isinstance(m, _NormBase) and m.training]
    return _with_copied_buffers(norms) if norms else nullcontext()


@contextmanager
def _with_copied_buffers(modules: Sequence[nn.Module]) -> Iterator[None]:
    buffers = [(module._buffers, dict(module._buffers)) for module in modules]
    for own, kept in buffers:
        own.update({name: b if b is None else b.clone() for name, b in kept.items()})
    try:
        yield
    finally:
        for own, kept in buffers:
            own.update(kept)
