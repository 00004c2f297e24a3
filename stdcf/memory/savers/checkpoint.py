"""Activation checkpointing by block."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils import checkpoint as torch_checkpoint
from torch.utils._pytree import tree_flatten, tree_unflatten

from stdcf.errors import UserError
from stdcf.memory.cuda.cuda_operators import operators_of_now
from stdcf.memory.savers.blocks import blocks
from stdcf.memory.savers.packing import Packing, is_suspended, suspended
from stdcf.memory.savers.replay import Draws, FirstRun
from stdcf.memory.savers.saver import Saver
from stdcf.memory.savers.second_look import VALUES, gives_the_same, looking_at, saves_fewer


class CannotRunAgain(UserError):
    """A block whose second run would not give what its first one did.

    Attributes:
        block: its name in the model.
    """

    def __init__(self, block: str, words: str) -> None:
        super().__init__(words)
        self.block = block


class Checkpoint(Saver):
    """Keeps each block's input alone and runs the block again in the backward pass (Chen et al.
    2016), by torch.utils.checkpoint.

    Dropout draws the same masks again, and so do Python's and NumPy's generators. The second run
    finds buffers and small attributes of the block's modules (a counter, an average, a list) as the
    first one found them, and changes them no more, so they are updated once. That both runs save
    the same is looked at on a sample in the first steps and then ever more rarely, and that they
    give the same in the first step, in which each block runs once more; where they do not, or a
    block changes its input in place, it is an error that names the block.

    Warns of blocks whose parts the model calls itself: of those nothing is saved.

    Args:
        find: gives the blocks of a model by name.
    """

    name = "checkpoint"

    def __init__(self, find: Callable[[nn.Module], dict[str, nn.Module]] = blocks) -> None:
        self._find = find
        self._passes: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self._secret: set[tuple[int, str]] = set()

    def forward(
        self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing
    ) -> AbstractContextManager[object]:
        number = self._passes[model] = self._passes.get(model, 0) + 1
        # The first three and every power of two: a state may not show at once.
        look = number < 4 or number & (number - 1) == 0
        return _Pass(packing, look, self._secret, number == 1).around(model, self._find(model))


class _Pass:
    """One forward pass."""

    def __init__(
        self, packing: Packing, look: bool, secret: set[tuple[int, str]], is_first: bool
    ) -> None:
        self._packing, self._look, self._secret = packing, look, secret
        self._is_first = is_first
        self._ran: set[int] = set()

    @contextmanager
    def around(self, model: nn.Module, named: dict[str, nn.Module]) -> Iterator[None]:
        """Within, each block's forward is checkpointed; the modules are left as they were."""
        modules = {id(block): (name, block) for name, block in reversed(named.items())}
        before = {key: block.__dict__.get("forward") for key, (_, block) in modules.items()}
        called: set[int] = set()
        with _calls(called) if self._is_first else nullcontext():
            for name, block in modules.values():
                block.__dict__["forward"] = partial(self._run, name, block, block.forward)
            try:
                yield
            finally:
                for key, (_, block) in modules.items():
                    if before[key] is None:
                        del block.__dict__["forward"]
                    else:
                        block.__dict__["forward"] = before[key]
        if not self._ran:
            raise UserError(
                f"checkpoint saves nothing in {type(model).__name__}: it calls none of its blocks "
                f"({_few(list(named))}), but what is inside them; leave checkpoint out"
            )
        inside = [
            name
            for key, (name, block) in modules.items()
            if key not in self._ran and any(id(part) in called for part in block.modules())
        ]
        if inside:
            warnings.warn(
                f"checkpoint saves nothing in {_few(inside)}: {type(model).__name__} calls what is "
                "inside and not the block",
                stacklevel=2,
            )

    def _run(
        self, name: str, block: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        self._ran.add(id(block))
        # Within another block, that one's second run is this one's as well.
        if is_suspended() or not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        leaves, tree = tree_flatten((args, kwargs))
        places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        tensors = [leaves[place] for place in places]
        versions = [tensor._version for tensor in tensors]
        for place, tensor in zip(places, tensors, strict=True):
            self._packing.compute_from(tensor)
            # Only torch keeps it, which sees to its version.
            leaves[place] = None

        def body(*given: Tensor) -> Any:
            filled = list(leaves)
            for place, tensor in zip(places, given, strict=True):
                filled[place] = tensor
            own_args, own_kwargs = tree_unflatten(filled, tree)
            return forward(*own_args, **own_kwargs)

        operators = operators_of_now()
        first = FirstRun(block, self._secret, self._look)

        @contextmanager
        def again() -> Iterator[None]:
            with operators(), first.again():
                yield
            # torch ends a second run by an exception, once it has all that the first one saved.
            if torch_checkpoint._enable_checkpoint_early_stop is not False:
                raise saves_fewer(name)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return suspended(), Reusable(again)

        draws = Draws(tensors)
        with looking_at(name):
            out = torch_checkpoint.checkpoint(
                body,
                *tensors,
                use_reentrant=False,
                context_fn=contexts,
                determinism_check=VALUES if self._look else "default",
            )
        first.over()
        if any(t._version != version for t, version in zip(tensors, versions, strict=True)):
            raise CannotRunAgain(
                name,
                f"checkpoint cannot run block {name} again: it changes its input in place; make "
                "its first operation one that does not (inplace=False), or leave checkpoint out",
            )
        if self._is_first and not any(isinstance(tensor, FakeTensor) for tensor in tensors):
            with suspended(), draws.again(), first.again():
                second = body(*tensors)
            gives_the_same(name, out, second)
        return out


class Reusable(AbstractContextManager[None]):
    """A context that is made anew each time it is entered: backward may run a block several times.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._entered: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        context = self._make()
        context.__enter__()
        self._entered.append(context)

    def __exit__(self, *error: Any) -> bool | None:
        return self._entered.pop().__exit__(*error)


@contextmanager
def _calls(called: set[int]) -> Iterator[None]:
    """Within, the modules that are called."""
    handle = register_module_forward_pre_hook(lambda module, _: called.add(id(module)))
    try:
        yield
    finally:
        handle.remove()


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
