"""Table 1 as text: accuracy across both gaps without and with dilated atoms, beside the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of, under
from suites.reporting import cells
from suites.reporting.figures.style import layer_name
from suites.reporting.published import number, published
from suites.reporting.small_print import describe, provenance_notes
from suites.reporting.stats import paired
from suites.tables.table import Table


@dataclass(frozen=True)
class Gap:
    """A gap in resolution, and which network and condition has the atoms plain or dilated.

    Attributes:
        name, words: short, and in full for the table.
        plain, dilated: (mode, condition).
        varied: the paper's column.
    """

    name: str
    words: str
    plain: tuple[str, str]
    dilated: tuple[str, str]
    varied: str


GAPS = (
    Gap(
        "space",
        "half size → full size",
        ("half_size", "plain"),
        ("half_size", "dilated"),
        "spatial dilation at test",
    ),
    Gap(
        "time",
        "full time → half time",
        ("full", "plain"),
        ("dilated_time", "dilated"),
        "temporal dilation in training",
    ),
)


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line a gap and layer; then what each network reaches without a gap."""
    body = []
    for gap in GAPS:
        for layer in layers_of(rows):
            plain, dilated = (under(rows, layer, *which) for which in (gap.plain, gap.dilated))
            points = cells.paired_points(dilated, plain)
            test = paired(points, [0.0] * len(points)) if points else None
            body.append(
                [
                    layer_name(layer) + (" †" if any(row["shipped"] for row in dilated) else ""),
                    gap.words,
                    cells.percent(plain),
                    cells.percent(dilated),
                    str(len(points)),
                    "–" if test is None else cells.with_interval(test.difference, sign=True),
                    _beyond(test.difference.mean, test.difference.half_width) if test else "–",
                    *(
                        [cells.fixed(value) for value in papers(gap)]
                        if layer == "stdcf"
                        else ["", ""]
                    ),
                ]
            )
    return [
        Table(
            title=f"Table 1: dilated atoms ({describe(rows)})",
            columns=[
                "Layer",
                "Training → test",
                "Plain, %",
                "Dilated, %",
                "n",
                "Dilation's gain",
                "Beyond interval",
                "Paper: plain",
                "dilated",
            ],
            rows=body,
            notes=[
                "clip accuracy; ± 95% over seeds; gain in points, paired by seed",
                "half size → full size: one network, its spatial atoms at dilation 1 (plain) or 2 "
                "in the test; full time → half time: trained with temporal atoms at dilation 1 "
                "(plain) or 2, tested on every second frame at dilation 1",
                "the paper's are on KTH, STDCF alone",
                *provenance_notes(rows),
            ],
        ),
        _without_gap(rows),
    ]


def papers(gap: Gap) -> tuple[float | None, float | None]:
    """The paper's accuracies, plain and dilated, in %."""
    column = "spatial_dilation_test" if gap.name == "space" else "temporal_dilation_train"
    by_dilation = {
        row[column]: number(row, "accuracy")
        for row in published("table1_dilated_atoms")
        if row["varied"] == gap.varied
    }
    return by_dilation.get("1"), by_dilation.get("2")


def _without_gap(rows: Sequence[Row]) -> Table:
    modes = {"half_size": "half size", "full": "full size", "dilated_time": "full, dilation (2, 1)"}
    body = []
    for mode, words in modes.items():
        for layer in layers_of(rows):
            own = under(rows, layer, mode, "own")
            one = next((row for row in own if row["status"] == "ok"), None)
            body.append(
                [
                    layer_name(layer) + (" †" if any(row["shipped"] for row in own) else ""),
                    words,
                    " / ".join(one["train_shapes"]) if one else "–",
                    cells.percent(own),
                    f"{one['train_seconds']:.0f}" if one else "–",
                ]
            )
    return Table(
        title="Table 1: the same networks without a gap, tested as they were trained",
        columns=["Layer", "Training", "Trained and tested on", "Clip acc., %", "Training, s"],
        rows=body,
        notes=[],
    )


def _beyond(mean: float, half_width: float | None) -> str:
    if half_width is None:
        return "–"
    return "yes" if abs(mean) > half_width else "no"
