"""Where ITSL's networks look: the networks of Table 2, and maps of two of their stages over clips.

Figures 6 and 7 are of this kind; see `stage_maps_task`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row
from suites.experiments.shared import kth
from suites.experiments.shared.conditions import layers_of
from suites.reporting import cells, columns
from suites.reporting.columns import Column, Line
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

Map = Literal["attention", "gradcam"]


def specs(
    suite: str, kind: Map, stages: Sequence[str], request: Request, manifest: str
) -> list[RunSpec]:
    """Table 2's ITSL with every layer, seed by seed and fold by fold.

    The training is Table 2's own, so that its weights serve both.

    Args:
        stages: names of those whose networks are looked at.
    """
    options = {"map": kind, "stages": list(stages)}
    return [
        run.changed(task="stage_maps", options=options, published=None)
        for run in kth.specs(request, manifest, suite, persons=kth.folds(request))
        if run.mode == "itsl"
    ]


def stage_words(name: str) -> str:
    """ "t1" as "stage-t, iteration 1"; stages of other schedules by their names."""
    if name[0] in "ts" and name[1:].isdecimal():
        return f"stage-{name[0]}, iteration {name[1:]}"
    return "full size" if name == "full" else name


def table(rows: Sequence[Row], title: str, notes: Sequence[str]) -> Table:
    """A line a layer and stage, the second stage against the first."""
    return columns.table(
        f"{title} ({describe(rows)})",
        [
            columns.layer(),
            Column[Line]("After", lambda line: stage_words(line.key)),
            Column(
                "Clip acc., %",
                lambda line: cells.percent(line.rows, partial(_seen, line.key, "accuracy")),
            ),
            columns.count(),
            columns.percent("On motion, %"),
            columns.difference("vs first", unknown=""),
        ],
        _lines(rows),
        [
            "on motion: the part of a map that lies in the tenth of its cells in which the clip "
            "changes most from frame to frame, mean over the test clips (10: no more than "
            "anywhere); vs first in points, paired by seed",
            *notes,
            "the paper has a picture alone",
            *provenance_notes(rows),
        ],
    )


def _lines(rows: Sequence[Row]) -> Iterator[Line]:
    for layer in layers_of(rows):
        first: Line | None = None
        for stage in stages_of(rows):
            group = [row for row in rows if row["layer"] == layer and _was_seen(row, stage)]
            line = Line(group, stage, layer, value=partial(_seen, stage, "on_motion"))
            yield line if first is None else replace(line, base=first.rows, base_value=first.value)
            first = first or line


def _was_seen(row: Row, stage: str) -> bool:
    """Failed runs are among those that are shown."""
    looks = row.get("looks") or ()
    return row["status"] != "ok" or any(look["stage"] == stage for look in looks)


def _seen(stage: str, column: str, row: Row) -> float:
    (value,) = (look[column] for look in row["looks"] if look["stage"] == stage)
    return float(value)


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
