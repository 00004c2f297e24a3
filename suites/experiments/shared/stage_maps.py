"""Where ITSL's networks look: the networks of Table 2, and maps of two of their stages over clips.

Figures 6 and 7 are of this kind; see `stage_maps_task`.
"""

from collections.abc import Sequence
from typing import Any, Literal

from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row
from suites.experiments.shared import kth
from suites.experiments.shared.conditions import layers_of
from suites.reporting import cells
from suites.reporting.figures.style import layer_name
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

Map = Literal["attention", "gradcam"]


def specs(
    suite: str, kind: Map, stages: Sequence[str], request: Request, manifest: str
) -> list[RunSpec]:
    """Table 2's ITSL with every layer for the first seed, then for the next.

    The training is Table 2's own, so that its weights serve both.

    Args:
        stages: names of those whose networks are looked at.
    """
    options = {"map": kind, "stages": list(stages)}
    return [
        run.changed(task="stage_maps", options=options, published=None)
        for run in kth.specs(request, manifest, suite)
        if run.mode == "itsl"
    ]


def stage_words(name: str) -> str:
    """ "t1" as "stage-t, iteration 1"; stages of other schedules by their names."""
    if name[0] in "ts" and name[1:].isdecimal():
        return f"stage-{name[0]}, iteration {name[1:]}"
    return "full size" if name == "full" else name


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
