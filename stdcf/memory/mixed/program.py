"""The choice for each block as a mixed-integer linear program.

What is alive at a moment is taken as the sum over blocks of what the block has alive at that moment
of the step in which all blocks are treated as this one is. For those steps that is exact; where
neighbours are treated differently it may be off by what they share, which the search corrects by a
predicted step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stdcf.memory.mixed.alignment import Alignment, Moment
from stdcf.memory.mixed.prices import Prices
from stdcf.memory.mixed.profile import Profile
from stdcf.memory.savers.plan_file import CHOICES, lies_in

_MIB = 2**20


@dataclass(frozen=True)
class Solution:
    """A choice for each block that the program finds best.

    Attributes:
        cost: multiplications beyond the plain step's, as the program counts them.
        bound: a cost that no choice can be under, by the solver.
        peaks: moment -> bytes, as the program counts them.
    """

    blocks: dict[str, str]
    cost: float
    bound: float
    peaks: dict[Moment, float]


class Program:
    """All moments of a step, and what each choice has alive at them.

    Args:
        profiles: choice -> the step in which all blocks are treated so; "keep" must be among them.
            That of "checkpoint" has the blocks that can be checkpointed, the others have the parts
            that these are made of.
        checkpointed: names of the blocks that can be.
    """

    def __init__(
        self, profiles: Mapping[str, Profile], checkpointed: Sequence[str], prices: Prices
    ) -> None:
        keep = profiles["keep"]
        self._profiles, self._plain = profiles, [name for name in profiles if name != "checkpoint"]
        self._home = {part: _home(part, checkpointed) for part in keep.parts}
        self._inside = inside = {
            block: [p for p in keep.parts if self._home[p] == block] for block in checkpointed
        }
        base = {part: keep.cost(prices, part) for part in keep.parts}
        self._columns = [(part, choice) for part in keep.parts for choice in self._plain]
        cost = [profiles[choice].cost(prices, part) - base[part] for part, choice in self._columns]
        for block, parts in inside.items():
            self._columns.append((block, "checkpoint"))
            again = profiles["checkpoint"].cost(prices, block)
            cost.append(again - sum(base[part] for part in parts))
        self._place = {column: index for index, column in enumerate(self._columns)}
        self._scale = keep.cost(prices)
        # Of what costs the same the first is taken, and nothing is changed without need.
        order = np.array([CHOICES.index(choice) for _, choice in self._columns])
        self._cost_V = np.maximum(np.array(cost), 0) / self._scale + 1e-7 * order
        self._shared = list(self._find_shared(inside, prices))
        self._cost_S = np.array([shared.cost for shared in self._shared])
        alignment = Alignment(profiles, self._home)
        self.moments = alignment.moments
        times = [alignment.times(moment) for moment in self.moments]
        self._alive_MV = np.array([self._row(time) for time in times]) / _MIB
        self._one_PV = self._one_each(keep.parts)
        # Of each shared tensor: it is there unless its maker keeps it or nobody holds it.
        self._holds_SV = np.array([shared.holds_V for shared in self._shared])
        self._holds_SV = self._holds_SV.reshape(len(self._shared), len(self._columns))
        self._alive_MS = np.array(
            [[_at(shared.alive_N, time["checkpoint"]) for shared in self._shared] for time in times]
        ).reshape(len(times), len(self._shared))
        self._alive_MS /= _MIB

    def _find_shared(
        self, inside: Mapping[str, Sequence[str]], prices: Prices
    ) -> Iterator["_Shared"]:
        """What a checkpointed block hands on that it saves itself where it is not checkpointed."""
        keep = self._profiles["keep"]
        if not inside:
            return
        again = self._profiles["checkpoint"]
        for (maker, saver), lives in again.passed_on().items():
            if maker not in inside:
                continue
            takers = inside.get(saver, [saver])
            taker = keep.second_saver(inside[maker], takers)
            if taker is None:
                continue
            alive_N = again.alive(lives)
            again.take_away(saver, alive_N)
            made = (maker, "checkpoint")
            held = self._marks(made, (saver, "checkpoint"), (taker, "keep"), (taker, "recompute"))
            yield _Shared(alive_N, held, 0)
            sent = self._marks(made, (taker, "offload"), (taker, "recompute+offload"))
            bus_bytes = 2 * sum(life.n_bytes for life in lives)
            yield _Shared(0 * alive_N, sent, prices.of(0, 0, bus_bytes) / self._scale)

    def _marks(self, *columns: tuple[str, str]) -> np.ndarray:
        marks_V = np.zeros(len(self._columns))
        for column in columns:
            if column in self._place:
                marks_V[self._place[column]] = 1
        return marks_V

    def _row(self, times: Mapping[str, int | None]) -> list[float]:
        row = []
        for part, choice in self._columns:
            time = times[choice]
            row.append(0.0 if time is None else float(self._profiles[choice].of(part, time)))
        return row

    def _one_each(self, parts: Sequence[str]) -> np.ndarray:
        rows = []
        for part in parts:
            home = self._home[part]
            rows.append(
                [
                    float(name == (home if choice == "checkpoint" else part))
                    for name, choice in self._columns
                ]
            )
        return np.array(rows)

    def exact(self, blocks: Mapping[str, str], profile: Profile, moment: Moment) -> int | None:
        """What a plan's own profile has alive at a moment; None if it does not come to that."""
        block = moment.name if moment.of_block else self._home[moment.name]
        if (block is not None and blocks.get(block) == "checkpoint") != moment.of_block:
            return None
        found = profile.at(moment.phase, moment.name, moment.number)
        return None if found is None else found.n_bytes

    def cheapest(
        self, cap_bytes: float, more: Mapping[Moment, float], seconds: float
    ) -> Solution | None:
        """The least cost with no moment above the cap; None if there is no such choice.

        Args:
            more: bytes to be added at a moment.
            seconds: after which the best that was found is taken.
        """
        added_M = self._added(more)
        return self._solved(np.append(self._cost_V, 0), added_M, cap_bytes / _MIB, seconds)

    def leanest(self, more: Mapping[Moment, float], seconds: float) -> Solution | None:
        """The choice with the least peak; of equally lean ones the cheapest."""
        return self._solved(np.append(1e-3 * self._cost_V, 1), self._added(more), 0, seconds)

    def _added(self, more: Mapping[Moment, float]) -> np.ndarray:
        return np.array([more.get(moment, 0) for moment in self.moments]) / _MIB

    def _solved(
        self, cost: np.ndarray, added_M: np.ndarray, cap: float, seconds: float
    ) -> Solution | None:
        """Choices, shared tensors, and by how much the cap may be passed."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        choices, shared, moments = len(self._columns), len(self._shared), len(self.moments)
        passes = cost[-1] > 0
        upper = np.append(np.ones(choices + shared), np.inf if passes else 0)
        one_PV = np.hstack([self._one_PV, np.zeros((len(self._one_PV), shared + 1))])
        held_SV = np.hstack([self._holds_SV, -np.eye(shared), np.zeros((shared, 1))])
        alive_MV = np.hstack([self._alive_MV, self._alive_MS, -np.ones((moments, 1))])
        found = milp(
            np.concatenate([cost[:-1], self._cost_S, cost[-1:]]),
            integrality=np.append(np.ones(choices), np.zeros(shared + 1)),
            bounds=Bounds(0, upper),
            constraints=[
                LinearConstraint(alive_MV, ub=cap - added_M),
                LinearConstraint(one_PV, 1, 1),
                *([LinearConstraint(held_SV, ub=1)] if shared else []),
            ],
            options={"time_limit": seconds, "mip_rel_gap": 1e-3},
        )
        if found.x is None:
            return None
        x_V = (found.x[:choices] > 0.5).astype(float)
        z_S = np.maximum(self._holds_SV @ x_V - 1, 0)
        peaks_M = (self._alive_MV @ x_V + self._alive_MS @ z_S + added_M) * _MIB
        return Solution(
            {name: choice for (name, choice), x in zip(self._columns, x_V, strict=True) if x},
            float(self._cost_V @ x_V + self._cost_S @ z_S) * self._scale,
            max(float(found.mip_dual_bound), 0.0) * self._scale,
            dict(zip(self.moments, map(float, peaks_M), strict=True)),
        )


@dataclass(frozen=True)
class _Shared:
    """A tensor that one block makes and another one saves.

    Attributes:
        alive_N: its bytes after each operator of the step that checkpoints all blocks.
        holds_V: 1 for the choices of which two must be taken for it to be there beside what those
            have alive.
        cost: that it has then.
    """

    alive_N: np.ndarray  # noqa: N815
    holds_V: np.ndarray  # noqa: N815
    cost: float


def _at(alive_N: np.ndarray, time: int | None) -> float:
    return 0.0 if time is None else float(alive_N[time])


def _home(part: str, checkpointed: Sequence[str]) -> str | None:
    """The block that a part is or lies in."""
    found = (block for block in checkpointed if block == part or lies_in(part, block))
    return next(found, None)
