"""A predicted step part by part: who runs when, what of whom is alive, and what it takes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from stdcf.memory.mixed.prices import Prices
from stdcf.memory.savers.plan_file import lies_in
from stdcf.memory.tracking.lives import Life, makes_on_host, storages, tensors
from stdcf.memory.tracking.tracker import LifeTracker


@dataclass(frozen=True)
class Segment:
    """Operators in a row of one phase and one part, up to one that is part of backward itself.

    Attributes:
        number: how many segments of this phase and part were before it.
        start, stop: times of its first operator and of the one after its last.
        time: of the operator after which most was alive.
        n_bytes: what was alive then.
    """

    phase: str
    part: str
    number: int
    start: int
    stop: int
    time: int
    n_bytes: int


class Profile:
    """Notes a step as it is predicted; `Predictor.peak`'s listener.

    A storage belongs to the part that first saves it for backward, which decides what becomes of
    it, else to the one that makes it.

    Args:
        parts: module's name -> the part that it and what lies in it belongs to; the innermost
            counts. The rest belongs to "".

    Attributes:
        macs, moved_bytes, bus_bytes: part -> multiplications, bytes read and written by operators,
            bytes sent to the host and back.
    """

    def __init__(self, parts: Mapping[str, str]) -> None:
        self.tracker: LifeTracker | None = None
        self.parts = list(dict.fromkeys(["", *parts.values()]))
        self.macs = dict.fromkeys(self.parts, 0)
        self.moved_bytes = dict.fromkeys(self.parts, 0)
        self.bus_bytes = dict.fromkeys(self.parts, 0)
        self._part_of = {"": "", **parts}
        self._names = sorted(filter(None, parts), key=len, reverse=True)
        self._macs = 0
        self._paid_by: str | None = None
        # Time, phase, part; whether a moment ends there.
        self._operators: list[tuple[int, str, str, bool]] = [(0, "forward", "", False)]
        # Of each storage by its life: who saves it, in order.
        self.savers: dict[int, tuple[Life, list[str]]] = {}

    def saves(self, name: str, tensor: Tensor) -> None:
        """As `Plan`'s observer."""
        life = None if self.tracker is None else self.tracker.life_of(tensor)
        if life is not None and life.born:
            self.savers.setdefault(id(life), (life, []))[1].append(self._part_of[name])

    @contextmanager
    def getting_back(self, name: str) -> Iterator[None]:
        """As `Plan`'s observer."""
        before, self._paid_by = self._paid_by, self._part_of[name]
        try:
            yield
        finally:
            self._paid_by = before

    def note(self, function: Any, arguments: Any, out: Any, before_bytes: int) -> None:
        """`LifeTracker`'s on_operator."""
        tracker = self.tracker
        assert tracker is not None
        phase = tracker.place.phase
        part = "" if phase == "optimizer" else self._part(tracker.place.module)
        # Before each of these more or less is computed again.
        ends = phase == "backward" and "backward" in function._opname
        self._operators.append((tracker.time, phase, part, ends))
        # Getting a tensor back is at the cost of who saved it.
        part = part if self._paid_by is None else self._paid_by
        self.macs[part] += tracker.macs - self._macs
        self._macs = tracker.macs
        self.moved_bytes[part] += sum(s.nbytes() for s in storages((arguments, out)))
        for tensor in tensors(arguments) if not makes_on_host() else ():
            life = tracker.life_of(tensor)
            if life is not None and life.on_host:
                self.bus_bytes[part] += life.n_bytes

    def _part(self, module: str) -> str:
        if module not in self._part_of:
            found = (name for name in self._names if lies_in(module, name))
            self._part_of[module] = self._part_of[next(found, "")]
        return self._part_of[module]

    def finish(self) -> None:
        """Once the step is over: finds its segments and what is alive in them."""
        tracker = self.tracker
        assert tracker is not None
        self._end = tracker.time + 2
        times, phases, parts, ends = zip(*self._operators, strict=True)
        # Of a storage that was resized no operator tells.
        which = np.searchsorted(times, np.arange(self._end), side="right") - 1
        self._makers = [parts[index] for index in which]
        owned: dict[str, list[Life]] = {part: [] for part in self.parts}
        for life in tracker.lives:
            maker = self._makers[life.born] if life.born else ""
            if life.on_host:
                self.bus_bytes[maker] += life.n_bytes
            else:
                _, savers = self.savers.get(id(life), (life, [maker]))
                owned[savers[0]].append(life)
        self._alive = {part: self.alive(lives) for part, lives in owned.items()}
        self._phases = [phases[index] for index in which]
        self._ends = [ends[index] for index in which]
        self._total_N = sum(self._alive.values(), np.zeros(self._end, np.int64))
        self.index = self.segments({part: part for part in self.parts})
        self.tracker = None

    def segments(self, names: Mapping[str, str]) -> dict[tuple[str, str, int], Segment]:
        """(phase, name, number) -> the segment, with every part under a name."""
        keys = [(p, names[m]) for p, m in zip(self._phases, self._makers, strict=True)]
        found = _segments(keys, self._ends, self._total_N)
        return {(segment.phase, segment.part, segment.number): segment for segment in found}

    def alive(self, lives: Iterable[Life]) -> np.ndarray:
        """Bytes of some storages after each operator."""
        change_N = np.zeros(self._end + 1, np.int64)
        for life in lives:
            change_N[life.born] += life.n_bytes
            change_N[self._end if life.died is None else life.died] -= life.n_bytes
        return change_N.cumsum()[: self._end]

    def passed_on(self) -> dict[tuple[str, str], list[Life]]:
        """(maker, first saver) -> storages that are first saved by another part than made them."""
        found: dict[tuple[str, str], list[Life]] = {}
        for life, savers in self.savers.values():
            maker = self._makers[life.born]
            if savers[0] != maker and not life.on_host:
                found.setdefault((maker, savers[0]), []).append(life)
        return found

    def take_away(self, part: str, alive_N: np.ndarray) -> None:
        """Some storages shall not be the part's."""
        self._alive[part] = self._alive[part] - alive_N

    def second_saver(self, makers: Collection[str], others: Collection[str]) -> str | None:
        """Which of some parts first saves what one of the makers has made and saved itself."""
        for life, parts in self.savers.values():
            if self._makers[life.born] in makers and parts[0] in makers:
                for part in parts[1:]:
                    if part in others:
                        return part
        return None

    def cost(self, prices: Prices, part: str | None = None) -> float:
        """What a part takes in multiplications; None is the whole step."""
        names = self.parts if part is None else [part]
        return sum(prices.of(self.macs[n], self.moved_bytes[n], self.bus_bytes[n]) for n in names)

    def of(self, part: str, time: int) -> int:
        """Bytes of a part's storages that are alive after an operator."""
        return int(self._alive[part][time])

    def at(self, phase: str, part: str, number: int) -> Segment | None:
        """The segment, or the last there is with a smaller number."""
        return nearest(self.index, phase, part, number)


def nearest(
    index: Mapping[tuple[str, str, int], Segment], phase: str, name: str, number: int
) -> Segment | None:
    """The segment of this number or, where there is none, of the next smaller one."""
    found = (index.get((phase, name, n)) for n in range(number, -1, -1))
    return next((segment for segment in found if segment is not None), None)


def _segments(
    keys: Sequence[tuple[str, str]], ends: Sequence[bool], total_N: np.ndarray
) -> list[Segment]:
    found: list[Segment] = []
    counts: dict[tuple[str, str], int] = {}
    start = 0
    for time in range(1, len(keys) + 1):
        key = keys[start]
        if time < len(keys) and keys[time] == key and not ends[time - 1]:
            continue
        top = start + int(total_N[start:time].argmax())
        number = counts.get(key, 0)
        counts[key] = number + 1
        found.append(Segment(*key, number, start, time, top, int(total_N[top])))
        start = time
    return found
