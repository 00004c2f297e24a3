"""Figure 3 as text: accuracy at twice the tempo, and how alike each layer's feature maps stay."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of, tested
from suites.reporting import columns
from suites.reporting.columns import Column, Line
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
    shown = [
        columns.layer(),
        Column[Line]("Trained at", lambda line: line.key[1][0]),
        Column[Line]("Tested at", lambda line: line.key[1][1]),
        columns.percent("Clip acc., %"),
        columns.count(),
        columns.difference("vs kept", unknown=""),
        *(Column(f"Sim. {place + 1}", partial(_similar, place)) for place in range(depth)),
    ]
    notes = [
        "tempo 2: every second frame; vs kept in points, paired by seed",
        "Sim.: how alike the output of each convolution is to that at tempo 1 at the same "
        "moments, channels standardised, cosine, mean over the test clips (1: equal)",
        "the paper has a picture alone",
        *provenance_notes(rows),
    ]
    return [columns.table(f"Figure 3: tempo ({describe(rows)})", shown, _lines(rows), notes)]


def _lines(rows: Sequence[Row]) -> Iterator[Line]:
    for layer in layers_of(rows):
        for (mode, condition), at in LINES.items():
            line = replace(tested(rows, layer, mode, condition), key=(condition, at))
            if condition not in ("reference", "kept"):
                kept = tested(rows, layer, mode, "kept")
                line = replace(line, base=kept.rows, base_value=kept.value)
            yield line


def similarities(row: Row) -> dict[str, list[float]]:
    """Condition -> similarity of each convolution in turn."""
    return {
        condition: list(by_name.values())
        for condition, by_name in (row.get("similarities") or {}).items()
    }


def _similar(place: int, line: Line) -> str:
    by_seed = [similarities(row).get(line.key[0], []) for row in line.ok]
    values = [by_place[place] for by_place in by_seed if place < len(by_place)]
    return f"{estimate(values).mean:.3f}" if values else ""
