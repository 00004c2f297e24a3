"""The synthetic data set's card as text: accuracies beside what the data set is made to ask for."""

from collections.abc import Sequence
from dataclasses import dataclass

from suites.engine.suite import Row
from suites.reporting import cells
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table


@dataclass(frozen=True)
class Condition:
    """One row of the card.

    Attributes:
        least: accuracy to reach, in %.
        points_below: how far to stay below the full clip at least, in points.
    """

    name: str
    least: float | None = None
    points_below: float | None = None

    @property
    def target(self) -> str:
        """As a cell."""
        return f"≥ {self.least:g}%" if self.least is not None else f"≤ −{self.points_below:g}"


# Mode -> condition. The targets are those of the variant `full`, which the paper profile takes.
CONDITIONS = {
    "full_clip": Condition("full clip", least=85),
    "every_second_frame": Condition("every second frame", points_below=5),
    "half_size": Condition("half size", points_below=5),
    "one_frame": Condition("one frame", points_below=20),
}


def by_condition(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Mode -> its rows, in the card's order."""
    return {mode: [row for row in rows if row["mode"] == mode] for mode in CONDITIONS}


def tables(rows: Sequence[Row]) -> list[Table]:
    """The card of one setting; targets stand in it where they apply."""
    groups = by_condition(rows)
    has_targets = not any(row["profile"] == "quick" for row in rows)
    columns = ["Clips", "Size", "Clip acc., %", "n", "vs full clip"]
    columns += ["Target", "Met"] if has_targets else []
    body = []
    for mode, group in groups.items():
        one = next((row for row in group if row["status"] == "ok"), None)
        difference = cells.paired_difference(group, groups["full_clip"])
        line = [
            CONDITIONS[mode].name + (" †" if any(row["shipped"] for row in group) else ""),
            "×".join(str(n) for n in one["clip_shape"][1:]) if one else "–",
            cells.percent(group),
            str(sum(row["status"] == "ok" for row in group)),
            ""
            if mode == "full_clip"
            else "–"
            if difference is None
            else cells.with_interval(difference, sign=True),
        ]
        line += [CONDITIONS[mode].target, _met(mode, groups)] if has_targets else []
        body.append([*line, cells.percent(group, "video_accuracy") if one else "–"])
    notes = ["a model of its own is trained and tested for each row; one frame: the middle one"]
    if has_targets:
        notes.append("vs full clip in points, paired by seed; met: by every seed")
    card = Table(
        title=f"What the clips ask for ({describe([*groups['full_clip'], *rows])})",
        columns=[*columns, "Video acc., %"],
        rows=body,
        notes=[*notes, *provenance_notes(rows)],
    )
    return [card]


def _met(mode: str, groups: dict[str, list[Row]]) -> str:
    condition = CONDITIONS[mode]
    if condition.least is not None:
        accuracies = [100 * row["accuracy"] for row in groups[mode] if row["status"] == "ok"]
        beyond = [accuracy - condition.least for accuracy in accuracies]
    else:
        differences = cells.paired_points(groups[mode], groups["full_clip"])
        beyond = [-points - (condition.points_below or 0) for points in differences]
    # Accuracies are decimal fractions: a target that is met exactly is met.
    return "–" if not beyond else "yes" if min(beyond) >= -1e-9 else "no"
