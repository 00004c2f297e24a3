"""The largest clip that a way of training takes under a cap: in frames, or in height and width."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stdcf.errors import UserError
from suites.planning.planner import Planner
from suites.planning.report import MIB, Asked, describe, run_line, schedule_name
from suites.planning.ways import Schedule, Way
from suites.tables.table import Table

SOLVED = ("batch", "frames", "size")
# Heights go by steps of 16 pixels, which most networks halve four times.
_STEPS = {"frames": 1, "size": 16}
_MOST = 8192
_LOOKS = 12
# A prediction this far from the cap needs no look at the next size.
_CLEAR = 0.005
_SAVERS: tuple[tuple[str, ...], ...] = (
    (),
    ("recompute",),
    ("bf16",),
    ("bf16", "recompute"),
    ("checkpoint",),
    ("bf16", "checkpoint"),
    ("bf16", "offload"),
)
_ITSL_SAVERS: tuple[tuple[str, ...], ...] = ((), ("bf16",), ("bf16", "checkpoint"))

Clip = tuple[int, int, int]


@dataclass(frozen=True)
class Largest:
    """What a way takes.

    Attributes:
        clip: [T, H, W], the largest by single frames, or by 16 pixels; None if none fits.
        along: the largest that is the asked one's times a power of two, as ITSL's sizes are.
        needs_bytes: of the first, with margin and context.
        refused: what the model said to a clip that it did not take; "" if it took all.
    """

    way: Way
    clip: Clip | None
    along: Clip | None
    needs_bytes: int
    refused: str = ""


class Solver:
    """Finds them by a few exact predictions each.

    Args:
        unknown: "frames" or "size" (height and width in the asked proportion).
        clip: [T, H, W] as asked.
    """

    def __init__(self, planner: Planner, unknown: str, clip: Clip, cap_bytes: int) -> None:
        self._planner, self._unknown, self._clip, self._cap_bytes = (
            planner,
            unknown,
            clip,
            cap_bytes,
        )
        self._refused = ""

    def ways(self, schedules: Sequence[Schedule], every: bool = False) -> list[Largest]:
        """For the usual savers, of ITSL those of the first β and γ; the largest clips first.

        Args:
            every: for all β and γ too.
        """
        full = [s for s in schedules if s.name == "full"]
        other = [s for s in schedules if s.name != "full"]
        pairs = [(s, savers) for s in full for savers in _SAVERS]
        pairs += [(s, savers) for s in other[: None if every else 1] for savers in _ITSL_SAVERS]
        found = []
        for schedule, savers in pairs:
            try:
                found.append(self.largest(self._planner.way(schedule, savers, self._cap_bytes)))
            except UserError as error:
                self._planner.left_out["+".join(savers)] = str(error)
        return sorted(found, key=lambda one: (-_volume(one.clip), one.way.step_cost))

    def largest(self, way: Way) -> Largest:
        """One way's."""
        self._refused = ""
        step = _STEPS[self._unknown]
        # What is known: the asked clip's needs, and that nothing needs nothing.
        asked = self._value(self._clip)
        known = {0: way.fixed_bytes, asked: self._needs(way, asked) or way.needs_bytes}
        low, high = 0, _MOST
        for look in range(_LOOKS):
            if high - low <= step:
                break
            value = self._extrapolated(known, low, high)
            if look > 2 and look % 2 and high < _MOST:
                # Where needs are no line of the size, halving is safer.
                value = (low + high) // 2 // step * step
            clear = self._line(known, low + step) > self._cap_bytes * (1 + _CLEAR)
            if low and value == low + step and clear:
                break
            needs = self._needs(way, value)
            if needs is None and value != asked:
                # Other sizes may be none of the model's at all: only ITSL's are tried.
                low = self._along(way, high)
                break
            if needs is None or needs > self._cap_bytes:
                high = value
            else:
                low = value
            if needs is not None:
                known[value] = needs
        along = self._along(way, low + 1)
        needs_bytes = (low and self._needs(way, low)) or 0
        return Largest(
            way,
            self._sized(low) if low else None,
            self._sized(along) if along else None,
            needs_bytes,
            self._refused,
        )

    def _along(self, way: Way, below: int) -> int:
        """The largest of the asked value times powers of two; 0 if none fits."""
        value = self._value(self._clip)
        while value * 2 < below:
            value *= 2
        while value >= 1:
            needs = self._needs(way, value) if value < below else None
            if needs is not None and needs <= self._cap_bytes:
                return value
            if value % 2:
                break
            value //= 2
        return 0

    def _extrapolated(self, known: dict[int, int], low: int, high: int) -> int:
        """Where a line through the two nearest known sizes meets the cap, strictly between."""
        step = _STEPS[self._unknown]
        first, second = self._nearest(known)
        slope = (known[second] - known[first]) / (self._scale(second) - self._scale(first))
        scale: float = self._scale(second)
        if slope > 0:
            scale += (self._cap_bytes - known[second]) / slope
        power = 1 if self._unknown == "frames" else 0.5
        value = math.floor(max(scale, 0) ** power / step) * step
        return min(max(value, low + step), max(high - step, low + step))

    def _line(self, known: dict[int, int], value: int) -> float:
        first, second = self._nearest(known)
        slope = (known[second] - known[first]) / (self._scale(second) - self._scale(first))
        return known[second] + slope * (self._scale(value) - self._scale(second))

    def _nearest(self, known: dict[int, int]) -> list[int]:
        """The two whose needs are nearest to the cap, the smaller one first."""
        return sorted(sorted(known, key=lambda v: abs(known[v] - self._cap_bytes))[:2])

    def _scale(self, value: int) -> int:
        return value if self._unknown == "frames" else value * value

    def _value(self, clip: Clip) -> int:
        return clip[0] if self._unknown == "frames" else clip[1]

    def _sized(self, value: int) -> Clip:
        frames, height, width = self._clip
        if self._unknown == "frames":
            return value, height, width
        return frames, value, max(round(value * width / height), 1)

    def _needs(self, way: Way, value: int) -> int | None:
        """None if the model does not take such a clip."""
        try:
            return self._planner.needs_bytes(way, self._sized(value))
        except UserError as error:
            self._refused = self._refused or str(error)
            return None


def _volume(clip: Clip | None) -> int:
    return 0 if clip is None else math.prod(clip)


def _words(clip: Clip | None) -> str:
    return "–" if clip is None else "×".join(map(str, clip))


def table(asked: Asked, found: Sequence[Largest], unknown: str) -> Table:
    """One line a way."""
    what = "frames" if unknown == "frames" else "height and width"
    return Table(
        title=f"{asked.title}: cap {asked.cap}, the most {what}",
        columns=["Training", "Savers", "Largest clip", "Needs, MiB", "ITSL's sizes", "Step cost"],
        rows=[
            [
                schedule_name(one.way),
                "+".join(one.way.savers) or "–",
                _words(one.clip),
                f"{one.needs_bytes / MIB:,.0f}" if one.clip else "–",
                _words(one.along),
                f"{one.way.step_cost:.2f}×",
            ]
            for one in found
        ],
        notes=[
            f"largest clip: by {'frames' if unknown == 'frames' else '16 pixels of its height'}; "
            "needs: what must be under the cap, with margin and context, predicted for that clip",
            "ITSL's sizes: the asked clip times a power of two",
            "step cost: multiplications against plain full size, at the asked clip",
        ],
    )


def notes(asked: Asked, found: Sequence[Largest], left_out: dict[str, str]) -> list[str]:
    """The largest, the command that runs it, and what the model refused."""
    lines = [f"{name} is left out: {why}" for name, why in left_out.items()]
    lines += list(dict.fromkeys(one.refused for one in found if one.refused))[:1]
    best = found[0] if found else None
    if best is None or best.clip is None:
        return [*lines, f"no clip fits at {asked.shape[0]} clips a step; take a smaller batch"]
    lines.append(f"largest: {_words(best.clip)}, {describe(best.way)}")
    shape = (*asked.shape[:2], *best.clip)
    return [*lines, run_line(replace(asked, shape=shape), best.way)]


def as_object(asked: Asked, found: Sequence[Largest], unknown: str) -> dict[str, Any]:
    """All of it, in bytes."""
    return {
        "model": asked.model,
        "input_shape": list(asked.shape),
        "cap_bytes": asked.cap_bytes,
        "solved": unknown,
        "ways": [
            {
                "schedule": one.way.schedule.name,
                "savers": list(one.way.savers),
                "clip": None if one.clip is None else list(one.clip),
                "along_itsl": None if one.along is None else list(one.along),
                "needs_bytes": one.needs_bytes,
                "step_cost": one.way.step_cost,
            }
            for one in found
        ],
    }
