"""Table 1 as text: accuracy across both gaps without and with dilated atoms, beside the paper's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of, tested
from suites.reporting import cells, columns
from suites.reporting.columns import Column, Line
from suites.reporting.published import number, published
from suites.reporting.small_print import describe, provenance_notes
from suites.reporting.stats import estimate
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
    lines = [
        _GapLine(
            gap,
            tested(rows, layer, *gap.plain),
            tested(rows, layer, *gap.dilated),
        )
        for gap in GAPS
        for layer in layers_of(rows)
    ]
    notes = [
        "clip accuracy; ± 95% over seeds; gain in points, paired by seed",
        "half size → full size: one network, its spatial atoms at dilation 1 (plain) or 2 "
        "in the test; full time → half time: trained with temporal atoms at dilation 1 "
        "(plain) or 2, tested on every second frame at dilation 1",
        "the paper's are on KTH, STDCF alone",
        *provenance_notes(rows),
    ]
    title = f"Table 1: dilated atoms ({describe(rows)})"
    return [columns.table(title, _GAP_COLUMNS, lines, notes), _without_gap(rows)]


@dataclass(frozen=True)
class _GapLine:
    gap: Gap
    plain: Line
    dilated: Line

    @property
    def points(self) -> list[float]:
        """What dilation gains, for each seed that both have."""
        plain, dilated = self.plain, self.dilated
        return cells.paired_points(dilated.rows, plain.rows, dilated.value, plain.value)

    def gain(self) -> str:
        return cells.with_interval(estimate(self.points), sign=True) if self.points else "–"

    def is_beyond(self) -> str:
        found = estimate(self.points) if self.points else None
        if found is None or found.half_width is None:
            return "–"
        return "yes" if abs(found.mean) > found.half_width else "no"

    def paper(self, place: int) -> str:
        return cells.fixed(papers(self.gap)[place]) if self.plain.layer == "stdcf" else ""


_GAP_COLUMNS = [
    Column[_GapLine]("Layer", lambda line: columns.layer().cell(line.dilated)),
    Column("Training → test", lambda line: line.gap.words),
    Column("Plain, %", lambda line: cells.percent(line.plain.rows, line.plain.value)),
    Column("Dilated, %", lambda line: cells.percent(line.dilated.rows, line.dilated.value)),
    Column("n", lambda line: str(len(line.points))),
    Column("Dilation's gain", _GapLine.gain),
    Column("Beyond interval", _GapLine.is_beyond),
    Column("Paper: plain", lambda line: line.paper(0)),
    Column("dilated", lambda line: line.paper(1)),
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


_NETWORKS = {"half_size": "half size", "full": "full size", "dilated_time": "full, dilation (2, 1)"}


def _without_gap(rows: Sequence[Row]) -> Table:
    lines = [
        replace(tested(rows, layer, mode, "own"), key=name)
        for mode, name in _NETWORKS.items()
        for layer in layers_of(rows)
    ]
    return columns.table(
        "Table 1: the same networks without a gap, tested as they were trained",
        [
            columns.layer(),
            Column("Training", lambda line: line.key),
            columns.first("Trained and tested on", lambda row: " / ".join(row["train_shapes"])),
            columns.percent("Clip acc., %"),
            columns.seconds("Training, s"),
        ],
        lines,
    )
