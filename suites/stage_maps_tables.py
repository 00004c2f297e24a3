"""What stages' networks look at, as text: accuracy, and how much of a map lies where clips move."""

from collections.abc import Sequence
from typing import Any

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of
from suites.experiments.shared.stage_maps import stage_words
from suites.reporting import cells
from suites.reporting.figures.style import layer_name
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table


def table(rows: Sequence[Row], title: str, notes: Sequence[str]) -> Table:
    """A line a layer and stage, the second stage against the first."""
    body = []
    for layer in layers_of(rows):
        own = [row for row in rows if row["layer"] == layer]
        first: list[dict[str, Any]] | None = None
        for stage in stages_of(rows):
            group = after(own, stage)
            shown = [{**row, "accuracy": row.get("on_motion")} for row in group]
            gain = None if first is None else cells.paired_difference(shown, first)
            first = first or shown
            body.append(
                [
                    layer_name(layer) + (" †" if any(row["shipped"] for row in group) else ""),
                    stage_words(stage),
                    cells.percent(group),
                    str(sum(row["status"] == "ok" for row in group)),
                    cells.percent(shown),
                    "" if gain is None else cells.with_interval(gain, sign=True),
                ]
            )
    return Table(
        title=f"{title} ({describe(rows)})",
        columns=["Layer", "After", "Clip acc., %", "n", "On motion, %", "vs first"],
        rows=body,
        notes=[
            "on motion: the part of a map that lies in the tenth of its cells in which the clip "
            "changes most from frame to frame, mean over the test clips (10: no more than "
            "anywhere); vs first in points, paired by seed",
            *notes,
            "the paper has a picture alone",
            *provenance_notes(rows),
        ],
    )


def stages_of(rows: Sequence[Row]) -> list[str]:
    """The stages that rows looked at."""
    return list(dict.fromkeys(look["stage"] for row in rows for look in row.get("looks") or ()))


def after(rows: Sequence[Row], stage: str) -> list[dict[str, Any]]:
    """The rows with a stage's numbers as their own; failed runs are among them."""
    found = []
    for row in rows:
        looks = {look["stage"]: look for look in row.get("looks") or ()}
        if row["status"] != "ok" or stage in looks:
            found.append({**row, **looks.get(stage, {})})
    return found
