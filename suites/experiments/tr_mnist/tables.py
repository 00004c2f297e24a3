"""Figure 2's numbers as text: mean test PSNR beside the paper's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from suites.engine.suite import Row
from suites.reporting import cells, columns
from suites.reporting.columns import Column
from suites.reporting.figures.style import layer_name
from suites.reporting.published import number, published
from suites.reporting.small_print import describe, provenance_notes
from suites.reporting.stats import Estimate, estimate
from suites.tables.table import Table

LAYERS = ("stdcf", "rank1", "regular")
EQUAL_WIDTH, EQUAL_PARAMS = "equal_width", "equal_params"


@dataclass(frozen=True)
class Line:
    """A row of the table: a layer under a mode, and the M and N of STDCF's atoms."""

    layer: str
    mode: str
    atoms: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """With its atoms."""
        name = layer_name(self.layer)
        return f"{name} M={self.atoms[0]}, N={self.atoms[1]}" if self.atoms else name

    @property
    def compared_at(self) -> str:
        """In words."""
        return "equal parameters" if self.mode == EQUAL_PARAMS else "equal width"


# In the order of their value. Rank-1's whole filters are of M=9 spatial and N=3 temporal atoms, so
# §2.1.1's comparison, at the same M and N, is that with the first.
LINES = (
    Line("stdcf", EQUAL_WIDTH, (9, 3)),
    Line("rank1", EQUAL_WIDTH),
    Line("regular", EQUAL_WIDTH),
    Line("stdcf", "equal_width_m6n2", (6, 2)),
    Line("stdcf", "equal_width_m3n2", (3, 2)),
    Line("stdcf", EQUAL_PARAMS, (3, 2)),
    Line("rank1", EQUAL_PARAMS),
)


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line each, with its distance from rank-1."""
    ok = [row for row in rows if row["status"] == "ok"]
    notes = [
        "PSNR: 10 log₁₀(1/MSE) of each test clip, pixels from 0 to 1, its mean over clips; "
        "± over seeds; vs rank-1 at equal width or parameters, in dB, paired by seed",
        "rank-1's filters are whole: all 9 spatial and 3 temporal atoms; equal parameters: those "
        "of the regular layer at equal width",
        "the paper's M, N and network are not public",
    ]
    if ok:
        pool = "×".join(str(n) for n in ok[0]["pool"])
        notes.append(
            f"the middle layer sees the clip {pool} times smaller (time, height, width); "
            f"a black clip has {ok[0]['black_psnr_db']:.2f} dB"
        )
    return [
        columns.table(
            f"Figure 2: reconstruction ({describe(rows)})",
            [
                columns.marked("Layer", lambda line: line.key.name),
                Column("Compared at", lambda line: line.key.compared_at),
                columns.first("Channels", lambda row: str(row["widths"][0])),
                columns.params(),
                Column("PSNR, dB", _psnr),
                columns.count(),
                _of_paper("Paper", lambda layer: cells.fixed(paper_db(layer))),
                Column("vs rank-1", lambda line: _ahead(ok, line.key)),
                _of_paper("Paper's", lambda x: cells.fixed(_paper_ahead(x), 1, sign=True)),
            ],
            [columns.Line(of(rows, line), line) for line in LINES],
            [*notes, *provenance_notes(rows)],
        )
    ]


def _psnr(line: columns.Line) -> str:
    values = [row["psnr_db"] for row in line.ok]
    return cells.with_interval(estimate(values)) if values else cells.statuses(line.rows)


def _ahead(ok: Sequence[Row], line: Line) -> str:
    found = difference(ok, line)
    if line.layer == "rank1":
        return ""
    return "–" if found is None else cells.with_interval(found, sign=True)


def _of_paper(head: str, text: Callable[[str], str]) -> Column[columns.Line]:
    return Column(head, lambda x: text(x.key.layer) if x.key.mode == EQUAL_WIDTH else "")


def of(rows: Sequence[Row], line: Line) -> list[Row]:
    """The rows of a line."""
    return [row for row in rows if (row["layer"], row["mode"]) == (line.layer, line.mode)]


def difference(ok: Sequence[Row], line: Line) -> Estimate | None:
    """A line − rank-1's in dB, over the seeds that both have; None if there is none."""
    rank1 = Line("rank1", EQUAL_PARAMS if line.mode == EQUAL_PARAMS else EQUAL_WIDTH)
    return cells.paired_difference(of(ok, line), of(ok, rank1), "psnr_db", scale=1)


def paper_db(layer: str) -> float | None:
    """The paper's mean test PSNR of a layer, or None."""
    row = next((row for row in published("fig2_tr_mnist") if row["layer"] == layer), None)
    return number(row, "mean_psnr_db")


def _paper_ahead(layer: str) -> float | None:
    own, rank1 = paper_db(layer), paper_db("rank1")
    return None if layer == "rank1" or own is None or rank1 is None else own - rank1
