"""The synthetic data set's card as text: accuracies beside what the data set is made to ask for."""

from collections.abc import Sequence
from dataclasses import dataclass

from suites.engine.suite import Row
from suites.reporting import cells, columns
from suites.reporting.columns import Column, Line
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
    base = groups["full_clip"]
    notes = ["a model of its own is trained and tested for each row; one frame: the middle one"]
    targets: list[Column[Line]] = []
    if not any(row["profile"] == "quick" for row in rows):
        notes.append("vs full clip in points, paired by seed; met: by every seed")
        targets = [
            Column("Target", lambda line: CONDITIONS[line.key].target),
            Column("Met", lambda line: _met(line.key, groups)),
        ]
    shown = [
        columns.marked("Clips", lambda line: CONDITIONS[line.key].name),
        columns.first("Size", lambda row: "×".join(map(str, row["clip_shape"][1:]))),
        columns.percent("Clip acc., %"),
        columns.count(),
        columns.difference("vs full clip"),
        *targets,
        columns.more_percent("Video acc., %", "video_accuracy"),
    ]
    lines = [
        Line(group, mode, base=None if group is base else base) for mode, group in groups.items()
    ]
    title = f"What the clips ask for ({describe([*base, *rows])})"
    return [columns.table(title, shown, lines, [*notes, *provenance_notes(rows)])]


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
