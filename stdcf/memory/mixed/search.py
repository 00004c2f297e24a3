"""The cheapest plan of a step under a cap: solved, predicted exactly, corrected."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from stdcf.errors import UserError
from stdcf.memory.mixed.alignment import Moment
from stdcf.memory.mixed.prices import PRICES, Prices
from stdcf.memory.mixed.profile import Profile
from stdcf.memory.mixed.program import Program, Solution
from stdcf.memory.predict import Predictor
from stdcf.memory.report import MemoryReport
from stdcf.memory.savers.blocks import blocks as blocks_of
from stdcf.memory.savers.checkpoint import CannotRunAgain
from stdcf.memory.savers.plan import Plan
from stdcf.memory.savers.plan_file import CHOICES, lies_in

# Those that give the plain step's gradients, bit for bit.
EXACT = tuple(choice for choice in CHOICES if choice != "int8")
# Of up to so many layers each is planned by itself; of more, blocks are.
MOST_PARTS = 100
_ROUNDS = 6
# Worth another round.
_CLOSE = 0.02


@dataclass(frozen=True)
class BlockPlan:
    """A plan whose step was predicted.

    Attributes:
        blocks: module's name -> choice.
        needs_bytes: what must be under the cap: the peak of tensors or, for CUDA, the allocator's
            smallest cap with its margin, and the context.
        cost: multiplications beyond the plain step's, with what is moved at its price.
        way: the saver that treats all blocks so; "" for one that tells them apart.
    """

    blocks: Mapping[str, str]
    report: MemoryReport
    needs_bytes: int
    cost: float
    way: str = ""


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        plan: the cheapest that was predicted to fit or, where nothing fits, the leanest.
        whole: the cheapest of the ways that treat all blocks alike and fit; None if none does.
        plain: the step without a plan.
        bound: the cost under which the solver says that no plan fits, by its account of memory.
        step_cost: what the plain step takes in all.
    """

    plan: BlockPlan
    whole: BlockPlan | None
    plain: BlockPlan
    fits: bool
    bound: float
    step_cost: float
    seconds: float


class BlockPlanner:
    """Plans the steps of one model and one batch.

    Args:
        predictor: of the model.
        input_shape: see `predict_peak`.
        blocks: patterns of module names, such as "layer1.*"; those may be checkpointed, and each is
            planned as one. None takes what saver checkpoint takes.
        choices: of `plan_file.CHOICES`.
        savers: those that the step has beside the plan, such as bf16.
        context_bytes: what CUDA's context takes of a cap.
        options: further ones of `predict_peak`.

    Raises:
        UserError: for a pattern that fits no module, or an unknown choice.
    """

    def __init__(
        self,
        predictor: Predictor,
        input_shape: Sequence[int] | int,
        *,
        blocks: Sequence[str] | None = None,
        choices: Sequence[str] = EXACT,
        prices: Prices = PRICES,
        savers: Sequence[str] = (),
        context_bytes: int = 0,
        **options: Any,
    ) -> None:
        unknown = [choice for choice in choices if choice not in CHOICES]
        if unknown:
            raise UserError(f"unknown choice {unknown[0]!r}; there are {', '.join(CHOICES)}")
        self._predictor, self._shape, self._options = predictor, input_shape, options
        self._prices, self._savers, self._context_bytes = prices, tuple(savers), context_bytes
        model = predictor.model
        found = _blocks(model, blocks)
        self._parts = _parts(model, found, blocks is not None)
        self._checkpointed = found if "checkpoint" in choices else []
        self._choices = [choice for choice in CHOICES if choice in (*choices, "keep")]
        self._profiles: dict[str, Profile] = {}
        self._ways: list[BlockPlan] = []
        self._program: Program | None = None

    def ways(self) -> list[BlockPlan]:
        """The plain step and those that treat all blocks alike."""
        if not self._ways:
            for choice in self._choices:
                found = self._uniform(choice)
                if found is not None:
                    self._ways.append(found)
        return self._ways

    def best(self, cap_bytes: int) -> Found:
        """The cheapest plan that fits under a cap."""
        started = time.perf_counter()
        ways = self.ways()
        fitting = [way for way in ways if way.needs_bytes <= cap_bytes]
        whole = min(fitting, key=lambda way: way.cost, default=None)
        self._program = self._program or Program(self._profiles, self._checkpointed, self._prices)
        best, bound = whole, 0.0
        if whole is None or whole.cost > 0:
            best, bound = self._searched(cap_bytes, whole)
        plan = best or min(self._lean(), key=lambda plan: plan.needs_bytes)
        return Found(
            plan,
            whole,
            ways[0],
            plan.needs_bytes <= cap_bytes,
            # The program's costs are a little off where neighbours are treated differently.
            min(bound, plan.cost),
            self._profiles["keep"].cost(self._prices),
            time.perf_counter() - started,
        )

    def _searched(self, cap_bytes: int, best: BlockPlan | None) -> tuple[BlockPlan | None, float]:
        assert self._program is not None
        # What needs_bytes has beyond the peak.
        beside = max(way.needs_bytes - way.report.peak_bytes for way in self._ways)
        more: dict[Moment, float] = {}
        bound = 0.0
        seen: set[str] = set()
        for number in range(_ROUNDS):
            found = self._program.cheapest(cap_bytes - beside, more, seconds=5)
            if found is None:
                break
            bound = found.bound if number == 0 else bound
            plan, profile = self._planned(found)
            if str(Plan(plan.blocks)) in seen:
                break
            seen.add(str(Plan(plan.blocks)))
            if plan.needs_bytes <= cap_bytes and (best is None or plan.cost < best.cost):
                best = plan
                if plan.cost <= bound * (1 + _CLOSE):
                    break
            more = self._corrected(found, profile, more)
            beside = plan.needs_bytes - plan.report.peak_bytes
        return best, bound

    def _corrected(
        self, found: Solution, profile: Profile, more: Mapping[Moment, float]
    ) -> dict[Moment, float]:
        """By how much the program was off at each moment of its own plan."""
        assert self._program is not None
        now = dict(more)
        for moment, guessed in found.peaks.items():
            n_bytes = self._program.exact(found.blocks, profile, moment)
            if n_bytes is not None:
                now[moment] = more.get(moment, 0) + n_bytes - guessed
        return now

    def _lean(self) -> list[BlockPlan]:
        assert self._program is not None
        found = self._program.leanest({}, seconds=5)
        return [*self._ways, *([] if found is None else [self._planned(found)[0]])]

    def _uniform(self, choice: str) -> BlockPlan | None:
        way = "" if choice == "keep" else choice
        if choice != "checkpoint":
            plan, self._profiles[choice] = self._predicted(
                dict.fromkeys(["", *self._parts], choice), self._parts, way
            )
            return plan
        while self._checkpointed:
            inside = self._checkpointed
            parts = {name: part for name, part in self._parts.items() if not _is_in(name, inside)}
            try:
                plan, self._profiles[choice] = self._predicted(
                    dict.fromkeys(inside, choice), {**parts, **{b: b for b in inside}}, way
                )
            except CannotRunAgain as error:
                self._checkpointed = [b for b in inside if b != error.block]
            else:
                return plan
        return None

    def _planned(self, found: Solution) -> tuple[BlockPlan, Profile]:
        """What the program has chosen, for every module by name."""
        again = [name for name, choice in found.blocks.items() if choice == "checkpoint"]
        blocks = {"": found.blocks[""], **dict.fromkeys(again, "checkpoint")}
        parts = {block: block for block in again}
        for name, part in self._parts.items():
            if not _is_in(name, again):
                blocks[name], parts[name] = found.blocks[part], part
        return self._predicted(blocks, parts)

    def _predicted(
        self, blocks: Mapping[str, str], parts: Mapping[str, str], way: str = ""
    ) -> tuple[BlockPlan, Profile]:
        profile = Profile(parts)
        report = self._predictor.peak(
            self._shape,
            # Those that the plan leaves alone are in it too, so that it is told what they save.
            savers=[*self._savers, Plan({**dict.fromkeys(parts, "keep"), **blocks}, profile)],
            listeners=[profile],
            **self._options,
        )
        profile.finish()
        keep = self._profiles.get("keep", profile)
        cost = profile.cost(self._prices) - keep.cost(self._prices)
        needs_bytes = report.needs_bytes(self._context_bytes)
        return BlockPlan(dict(blocks), report, needs_bytes, cost, way), profile


def _is_in(name: str, blocks: Collection[str]) -> bool:
    return any(name == block or lies_in(name, block) for block in blocks)


def _blocks(model: nn.Module, patterns: Sequence[str] | None) -> list[str]:
    """Blocks that can be checkpointed, as far as one sees; none lies in another."""
    names = [name for name, _ in model.named_modules() if name]
    if patterns is None:
        try:
            found = list(blocks_of(model))
        except UserError:
            return []
    else:
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UserError(f"no module of {type(model).__name__} is called {pattern!r}")
        found = [n for n in names if any(fnmatchcase(n, pattern) for pattern in patterns)]
    outer = [name for name in found if not any(lies_in(name, other) for other in found)]
    return [name for name in outer if not _starts_in_place(model.get_submodule(name))]


def _starts_in_place(block: nn.Module) -> bool:
    leaves = [module for module in block.modules() if not any(module.children())]
    return bool(getattr(leaves[0], "inplace", False))


def _parts(model: nn.Module, blocks: Sequence[str], given: bool) -> dict[str, str]:
    """Module's name -> the part that it belongs to, which is planned as one; "" left out.

    Where there are few layers each is a part, but that a block's normalisations and activations are
    one: recompute works where both are to be. Of many layers each block is one.
    """
    names = [name for name, module in model.named_modules() if name and not any(module.children())]
    outside = {name: name for name in names if not _is_in(name, blocks)}
    found = {block: block for block in blocks}
    if not given and len(names) <= MOST_PARTS:
        for block in blocks:
            inside = [name for name in names if lies_in(name, block)]
            cheap = [name for name in inside if _is_cheap(model.get_submodule(name))]
            found |= {name: cheap[0] if name in cheap else name for name in inside}
    return found | outside


def _is_cheap(module: nn.Module) -> bool:
    kind = type(module).__name__
    return "Norm" in kind or kind in vars(nn.modules.activation)
