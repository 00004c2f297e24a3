"""What each block saves for backward is kept, computed again or put elsewhere, block by block."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stdcf.errors import UserError
from stdcf.memory.savers.bounded import BoundedOperators
from stdcf.memory.savers.checkpoint import Checkpoint
from stdcf.memory.savers.int8 import quantise
from stdcf.memory.savers.offload import send
from stdcf.memory.savers.packing import Packed, Packing, Reference
from stdcf.memory.savers.plan_file import as_word, lies_in, parse_word, read_plan
from stdcf.memory.savers.recompute import Watch
from stdcf.memory.savers.saver import Saver


class Observer(Protocol):
    """Follows what is saved for backward."""

    def saves(self, name: str, tensor: Tensor) -> None:
        """The innermost planned module saves a tensor, maybe not as the first."""

    def getting_back(self, name: str) -> AbstractContextManager[None]:
        """Around getting back what this module was the first to save."""


@dataclass(eq=False)
class _Observed:
    packed: Packed
    around: Callable[[], AbstractContextManager[None]]

    @property
    def is_off(self) -> bool:
        return bool(getattr(self.packed, "is_off", False))

    def unpack(self) -> Tensor:
        with self.around():
            return self.packed.unpack()


class Plan(Saver):
    """Does with each block of a model what a plan says, as the saver of that name would do.

    A tensor that two blocks save is treated as the first of them says, and one that can be computed
    again as the block says that made it. Within a block that is checkpointed nothing else can be
    planned.

    Args:
        plan: module's name -> one of `plan_file.CHOICES`; "" is what lies in no other. Or the name
            of a file that `suites.plan --mixed` wrote, or a word.

        observer: is told what is saved, but within blocks that are checkpointed.

    Raises:
        UserError: if it cannot be read, or has a block within one that is checkpointed.
    """

    name = "plan"

    def __init__(
        self,
        plan: Mapping[str, str] | str,
        observer: "Observer | None" = None,
    ) -> None:
        self._observer = observer
        self._word = read_plan(plan if isinstance(plan, str) else as_word(plan))
        self.blocks = parse_word(self._word) if isinstance(plan, str) else dict(plan)
        again = [name for name, choice in self.blocks.items() if choice == "checkpoint"]
        for outer in again:
            for name in self.blocks:
                if lies_in(name, outer):
                    raise UserError(
                        f"plan: {outer or 'the model'} is checkpointed, so nothing can be planned "
                        f"for {name} within it"
                    )
        self._checkpoint = Checkpoint(lambda model: {name: _module(model, name) for name in again})
        self._again, self._chosen = again, set(self.blocks.values())
        if "int8" in self._chosen:
            self.gradients = "of saved values that are off by up to 1/255 of their block's range"

    def __str__(self) -> str:
        return f"{self.name}={self._word}"

    @contextmanager
    def forward(self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing) -> Iterator[None]:
        if isinstance(model, DistributedDataParallel):
            model = model.module
        places = _Places(self.blocks)
        operators = BoundedOperators(model)
        watch = Watch(packing, lambda: places.choice.startswith("recompute"))

        def pack(tensor: Tensor) -> Packed:
            packed = (
                watch.pack(tensor)
                or _packed(places.choice, tensor, operators, packing)
                or Reference.to(tensor)
            )
            if self._observer is None:
                return packed
            return _Observed(packed, partial(self._observer.getting_back, places.name))

        with ExitStack() as stack:
            # Around the rest, which the second run of a block does not need.
            if self._again:
                stack.enter_context(self._checkpoint.forward(model, clip_BCTHW, packing))
            if self._chosen - {"keep", "checkpoint"} or self._observer is not None:
                packing.packers.append(pack)
                if self._observer is not None:
                    observer = self._observer
                    packing.listeners.append(lambda tensor: observer.saves(places.name, tensor))
                stack.enter_context(places.followed(model))
            if any(choice.startswith("recompute") for choice in self._chosen):
                stack.enter_context(watch)
            if "int8" in self._chosen:
                packing.bears_off = operators.takes
                stack.enter_context(operators.watching())
            yield


def _packed(
    choice: str, tensor: Tensor, operators: BoundedOperators, packing: Packing
) -> Packed | None:
    if choice.endswith("offload"):
        return send(tensor)
    if choice == "int8" and operators.takes(tensor) and not packing.is_source(tensor):
        return quantise(tensor)
    return None


class _Places:
    """Knows what the plan says of the innermost module that is running."""

    def __init__(self, blocks: Mapping[str, str]) -> None:
        self._blocks = blocks
        self._stack = [""]

    @property
    def name(self) -> str:
        return self._stack[-1]

    @property
    def choice(self) -> str:
        return self._blocks.get(self.name, "keep")

    @contextmanager
    def followed(self, model: nn.Module) -> Iterator[None]:
        handles = []
        for name in self._blocks:
            if name:
                module = _module(model, name)
                handles.append(module.register_forward_pre_hook(self._entering(name)))
                handles.append(module.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, name: str) -> Any:
        return lambda module, args: self._stack.append(name)

    def _leave(self, module: nn.Module, args: Any, out: Any) -> None:
        self._stack.pop()


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        names = [own for own, _ in model.named_modules()]
        near = get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"plan: {type(model).__name__} has no module {name!r}{hint}") from None
