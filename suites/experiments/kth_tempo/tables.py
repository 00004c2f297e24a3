"""Figure 3 as text: accuracy at twice the tempo, and how alike each layer's feature maps stay."""

from collections.abc import Sequence

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of, under
from suites.reporting import cells
from suites.reporting.figures.style import layer_name
from suites.reporting.small_print import describe, provenance_notes
from suites.reporting.stats import estimate
from suites.tables.table import Table

# (mode, condition) -> trained, tested, and whether it is what swapping is compared with.
LINES = {
    ("dilated_time", "reference"): ("dilation 2", "tempo 1, dilation 2"),
    ("dilated_time", "kept"): ("dilation 2", "tempo 2, dilation 2 (kept)"),
    ("dilated_time", "swapped"): ("dilation 2", "tempo 2, dilation 1 (swapped)"),
    ("full", "reference"): ("dilation 1", "tempo 1, dilation 1"),
    ("full", "kept"): ("dilation 1", "tempo 2, dilation 1 (kept)"),
    ("full", "literal"): ("dilation 1", "tempo 2, dilation 2 (the text's)"),
}


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line a layer, network and condition."""
    depth = max((len(names) for row in rows for names in similarities(row).values()), default=3)
    body = []
    for layer in layers_of(rows):
        for (mode, condition), (trained, tested) in LINES.items():
            group = under(rows, layer, mode, condition)
            ok = [row for row in group if row["status"] == "ok"]
            gain = None
            if condition not in ("reference", "kept"):
                gain = cells.paired_difference(group, under(rows, layer, mode, "kept"))
            body.append(
                [
                    layer_name(layer) + (" †" if any(row["shipped"] for row in group) else ""),
                    trained,
                    tested,
                    cells.percent(group),
                    str(len(ok)),
                    "" if gain is None else cells.with_interval(gain, sign=True),
                    *(_similar(ok, condition, place) for place in range(depth)),
                ]
            )
    return [
        Table(
            title=f"Figure 3: tempo ({describe(rows)})",
            columns=[
                "Layer",
                "Trained at",
                "Tested at",
                "Clip acc., %",
                "n",
                "vs kept",
                *(f"Sim. {place + 1}" for place in range(depth)),
            ],
            rows=body,
            notes=[
                "tempo 2: every second frame; vs kept in points, paired by seed",
                "Sim.: how alike the output of each convolution is to that at tempo 1 at the same "
                "moments, channels standardised, cosine, mean over the test clips (1: equal)",
                "the paper has a picture alone",
                *provenance_notes(rows),
            ],
        )
    ]


def similarities(row: Row) -> dict[str, list[float]]:
    """Condition -> similarity of each convolution in turn."""
    return {
        condition: list(by_name.values())
        for condition, by_name in (row.get("similarities") or {}).items()
    }


def _similar(ok: Sequence[Row], condition: str, place: int) -> str:
    found = [similarities(row).get(condition) for row in ok]
    values = [one[place] for one in found if one is not None and place < len(one)]
    return f"{estimate(values).mean:.3f}" if values else ""
