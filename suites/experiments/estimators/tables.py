"""How near each estimator is, and how often a step would have run out of memory by its number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from suites.engine.suite import Row
from suites.reporting import cells, columns
from suites.reporting.columns import Column
from suites.reporting.small_print import provenance_notes
from suites.tables.table import Table

_WITHIN = 0.05
TITLES = {
    "predict_peak": "predict_peak",
    "mem_tracker": "torch's MemTracker",
    "kitsune": "torch-kitsune",
    "vram_check": "vram-check",
    "formula": "parameters and outputs",
}
Step = Mapping[str, Any]


@dataclass(frozen=True)
class _Number:
    """One number that an estimator gives."""

    title: str
    estimator: str
    key: str
    steps: Sequence[Step]

    def estimate(self, step: Step) -> int | None:
        found = step["estimates"][self.estimator]
        n_bytes: int | None = found["bytes"][self.key] if found["status"] == "ok" else None
        return n_bytes

    def count(self, status: str) -> int:
        return sum(step["estimates"][self.estimator]["status"] == status for step in self.steps)

    @property
    def pairs(self) -> list[tuple[int, Step]]:
        """Estimates, with what was measured."""
        known = [(self.estimate(step), step["measured"]) for step in self.steps]
        return [(n, found) for n, found in known if n is not None and found is not None]

    @property
    def ratios(self) -> list[float]:
        """To what was allocated."""
        return [n / found["peak_bytes"] for n, found in self.pairs]

    def of_ratios(self, text: Callable[[list[float]], str]) -> str:
        return text(self.ratios) if self.pairs else "–"

    def short(self, of: str) -> str:
        if not self.pairs:
            return "–"
        lacking = sum(n < found[of] for n, found in self.pairs)
        return f"{100 * lacking / len(self.pairs):.0f}%"

    def seconds(self) -> str:
        found = [step["estimates"][self.estimator] for step in self.steps]
        took = [one["seconds"] for one in found if one["status"] == "ok"]
        return f"{median(took):.1f}" if took else "–"

    def off(self, step: Step) -> str:
        n_bytes = self.estimate(step)
        if n_bytes is None:
            return str(step["estimates"][self.estimator]["status"])
        if step["measured"] is None:
            return cells.mib(n_bytes)
        return _percent(n_bytes / step["measured"]["peak_bytes"])


def tables(rows: Sequence[Row]) -> list[Table]:
    """The scores, then every step."""
    steps = [one for row in rows if row["status"] == "ok" for one in row["cases"]]
    numbers = [
        _Number(_title(name, key), name, key, steps)
        for name in TITLES
        for key in (("allocated", "cap") if name == "predict_peak" else ("peak",))
    ]
    return [_scores(numbers, _notes(rows, steps)), _every_step(numbers, steps, rows)]


def _title(name: str, key: str) -> str:
    title = TITLES[name]
    if name != "predict_peak":
        return title
    return f"{title}, {'smallest cap and 5%' if key == 'cap' else 'allocated'}"


def _scores(numbers: Sequence[_Number], notes: Sequence[str]) -> Table:
    def error(ratios: list[float]) -> str:
        return f"{100 * median(abs(ratio - 1) for ratio in ratios):.1f}%"

    def within(ratios: list[float]) -> str:
        share = sum(abs(ratio - 1) <= _WITHIN for ratio in ratios) / len(ratios)
        return f"{100 * share:.0f}%"

    return columns.table(
        "Estimates of a step's peak against what a GPU allocated",
        [
            Column[_Number]("Estimate", lambda number: number.title),
            Column("Steps", lambda number: str(len(number.pairs))),
            Column("Failed", lambda number: str(number.count("failed"))),
            Column("Not installed", lambda number: str(number.count("missing"))),
            Column("Median error", lambda number: number.of_ratios(error)),
            Column(f"Within {_WITHIN:.0%}", lambda number: number.of_ratios(within)),
            Column("Lowest", lambda number: number.of_ratios(lambda r: _percent(min(r)))),
            Column("Highest", lambda number: number.of_ratios(lambda r: _percent(max(r)))),
            Column("Out of memory, at least", lambda number: number.short("peak_bytes")),
            Column("Out of memory, at most", lambda number: number.short("reserved_bytes")),
            Column("Seconds", _Number.seconds),
        ],
        numbers,
        notes,
    )


def _every_step(numbers: Sequence[_Number], steps: Sequence[Step], rows: Sequence[Row]) -> Table:
    def of(number: _Number) -> Column[Step]:
        return Column(number.title, number.off)

    return columns.table(
        "Every step: what a GPU allocated, MiB, and how far each estimate is off",
        [
            Column[Step]("Step", lambda step: str(step["name"])),
            Column("Allocated", lambda step: cells.mib((step["measured"] or {}).get("peak_bytes"))),
            *map(of, numbers),
        ],
        steps,
        provenance_notes(rows),
    )


def _notes(rows: Sequence[Row], steps: Sequence[Step]) -> list[str]:
    found = [
        "out of memory, had the estimate been the allocator's limit: at least where it is below "
        "what was allocated, at most where it is below what was reserved without a limit",
        "seconds: the median of a step's estimate on this machine",
    ]
    devices = sorted({step["measured"]["device"] for step in steps if step["measured"]})
    if devices:
        found.append(f"measured on {', '.join(devices)} (gpu_evidence)")
    for name, title in TITLES.items():
        own = [(step["name"], step["estimates"][name]) for step in steps]
        missing = {one["reason"] for _, one in own if one["status"] == "missing"}
        if missing:
            found.append(f"{title} is not installed: {missing.pop()}")
        versions = sorted({one["version"] for _, one in own if one.get("version")})
        if versions:
            found.append(f"{title} {', '.join(versions)}")
        for step, one in own:
            if one["status"] == "failed":
                found.append(f"{title} failed on {step}: {one['reason']}")
    return [*found, *provenance_notes(rows)]


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"
