"""Tables 3 and 4 as text: accuracy and cost of every published row beside the paper's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from suites.engine.published_costs import Cost, cost_of_row
from suites.engine.suite import Row
from suites.engine.weights import OWN
from suites.engine.weights import describe as origin
from suites.experiments.shared.video_systems import SIZE, clip
from suites.reporting import cells, columns
from suites.reporting.columns import Column
from suites.reporting.columns import Line as Runs
from suites.reporting.published import number, published
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

GIB = 2**30

Run = tuple[str, str, str]  # model, layer, mode


@dataclass(frozen=True)
class Line:
    """A published row and what it is measured by.

    Attributes:
        name: in the published table.
        run: model, layer and mode.
        stage: whose accuracy and memory it is; one run of ITSL gives several rows.
        frames: of a full-size clip.
        temporal_stride, spatial_stride: how much smaller the stage's clips are.
    """

    name: str
    run: Run
    stage: str
    frames: int
    temporal_stride: int = 1
    spatial_stride: int = 1

    def clip(self, size: int) -> str:
        """What the stage trains on where full-size clips are of this height and width."""
        return clip(self.frames // self.temporal_stride, size // self.spatial_stride)

    def score(self, column: str) -> Callable[[Row], float]:
        """What reads the stage's own accuracy from a row that is ok."""
        return lambda row: next(s[column] for s in row["stages"] if s["stage"] == self.stage)


@dataclass(frozen=True)
class PublishedTable:
    """One of the paper's tables.

    Attributes:
        title: "Table 3".
        file: in results/published.
        key: its column of names.
        counted_at: name -> the clip whose multiply-accumulates are published.
        recipe: "own" or "common", of its runs.
    """

    title: str
    file: str
    key: str
    lines: Sequence[Line]
    counted_at: Mapping[str, str]
    recipe: str

    def run_name(self, run: Run) -> str:
        """A run's published name; ITSL's without the -t-3 and -s-3 of its stages."""
        first, *others = (line.name for line in self.lines if line.run == run)
        return f"{first.rsplit('-', 2)[0]}, {run[2].removesuffix(OWN).upper()}" if others else first

    def row(self, name: str) -> dict[str, str] | None:
        """The published row."""
        return next((row for row in published(self.file) if row[self.key] == name), None)


RECIPES = {
    "own": "each by its authors' recipe",
    "common": "all by one recipe, which is no peer's own",
}


def tables_of_recipes(
    tables: Sequence[PublishedTable], rows: Sequence[Row], batch: int
) -> list[Table]:
    """Accuracy by each recipe of which there are rows, and the cost of one of them.

    Args:
        tables: of all recipes, the one to compare with the paper first.
    """
    found = [
        (table, mine)
        for table in tables
        if (mine := [row for row in rows if any(run_of(row) == x.run for x in table.lines)])
    ]
    (first, mine), *_ = found = found or [(tables[0], [])]
    accuracies = [accuracy_table(table, mine) for table, mine in found]
    return [*accuracies, cost_table(first, costs_of_rows(mine), batch)]


def cost_tables(
    tables: Sequence[PublishedTable], costs: Mapping[Run, Cost], batch: int
) -> list[Table]:
    """Cost of every row and memory of every stage, by the first recipe of which there are runs."""
    table = next(t for t in tables if any(line.run in costs for line in t.lines))
    mine = {run: cost for run, cost in costs.items() if any(x.run == run for x in table.lines)}
    return [cost_table(table, mine, batch), stage_table(table, mine, batch)]


def accuracy_table(table: PublishedTable, rows: Sequence[Row]) -> Table:
    """Top-1 and top-5 of whole videos, and what each run started from."""

    def started(runs: Runs) -> str:
        return ", ".join(sorted({origin(row.get("starts_from")) for row in runs.rows})) or "–"

    def theirs(column: str) -> Callable[[Runs], float | None]:
        return lambda runs: number(table.row(runs.key.name), column)

    origins: list[Column[Runs]] = [Column("Recipe", lambda _: table.recipe)]
    origins.append(Column("Started from", started))
    if any("pretrain" in row for row in published(table.file)):
        origins.append(
            Column("paper from", lambda x: (table.row(x.key.name) or {}).get("pretrain") or "–")
        )
    return columns.table(
        # STDCF's clips, which are those of most rows, in the title.
        f"{table.title}: accuracy, {RECIPES[table.recipe]} "
        f"({describe(sorted(rows, key=lambda r: not r['layer']))})",
        [
            _MODEL,
            Column("Top-1, %", lambda x: cells.percent(x.rows, x.key.score("video_accuracy"))),
            columns.published("paper", theirs("top1"), 1),
            Column(
                "Top-5, %",
                lambda x: cells.percent(x.ok, x.key.score("video_top5")) if x.ok else "–",
            ),
            columns.published("paper's", theirs("top5"), 1),
            columns.count(),
            Column(
                "Trained on",
                lambda x: x.key.clip(x.first["clip_shape"][-1] if x.first else SIZE),
            ),
            *origins,
            columns.first("Videos tested", lambda row: str(row["test_videos"])),
            columns.first("Broken", lambda row: str(len(row.get("broken_videos") or {}))),
        ],
        [Runs([row for row in rows if run_of(row) == line.run], line) for line in table.lines],
        [
            "accuracy of whole videos, scores averaged over each one's views; broken: could not be "
            "decoded, in training or testing, and were left out",
            *_broken_notes(rows),
            *provenance_notes(rows),
        ],
    )


_MODEL = Column[Runs]("Model", lambda runs: runs.key.name)


@dataclass(frozen=True)
class _Costs:
    """A published row, its run's cost, and its full-size row's where it is a stage of ITSL."""

    table: PublishedTable
    line: Line
    cost: Cost | None
    whole: "_Costs | None" = None

    @property
    def peak_gib(self) -> float | None:
        peak = self.cost.peak_bytes.get(self.line.stage) if self.cost else None
        return peak / GIB if peak else None

    def paper(self, column: str) -> float | None:
        return number(self.table.row(self.line.name), column)

    def billions(self, field: str) -> str:
        return cells.fixed(getattr(self.cost, field) / 1e9 if self.cost else None, 1)

    def share(self, memory: "Callable[[_Costs], float | None]") -> str:
        """Of full size's memory."""
        if self.whole is None:
            return ""
        own, full = memory(self), memory(self.whole)
        return f"{100 * own / full:.0f}%" if own and full else "–"


def _costs(table: PublishedTable, costs: Mapping[Run, Cost]) -> Iterator[_Costs]:
    for line in table.lines:
        whole = next((other for other in table.lines if _is_full_size_of(other, line)), None)
        full = _Costs(table, whole, costs.get(whole.run)) if whole else None
        yield _Costs(table, line, costs.get(line.run), full)


def _paper_gib(costs: _Costs) -> float | None:
    return costs.paper("memory_gb")


def cost_table(table: PublishedTable, costs: Mapping[Run, Cost], batch: int) -> Table:
    """Parameters, multiply-accumulates and predicted memory of every published row."""
    return columns.table(
        f"{table.title}: cost in the paper's setting (predicted)",
        [
            Column[_Costs]("Model", lambda x: x.line.name),
            Column("Trained on", lambda x: x.line.clip(SIZE)),
            Column("Params, M", lambda x: cells.fixed(x.cost.params / 1e6 if x.cost else None)),
            columns.published("paper", lambda x: x.paper("params_m"), 1),
            Column("GMAC", lambda x: x.billions("macs")),
            Column("run", lambda x: x.billions("executed_macs")),
            Column("at", lambda x: table.counted_at[x.line.name]),
            columns.published("paper, GFLOPs", lambda x: x.paper("gflops"), 1),
            Column(f"Memory, GiB ({batch} clips)", lambda x: cells.fixed(x.peak_gib)),
            columns.published("paper, G", _paper_gib, 1),
            Column("off by", lambda x: _off(x.peak_gib, _paper_gib(x))),
            Column("of full size", lambda x: x.share(lambda costs: costs.peak_gib)),
            Column("paper's", lambda x: x.share(_paper_gib)),
        ],
        _costs(table, costs),
        [
            "1 MAC = 1 FLOP of the paper's; GMAC of the factored form, run: of the plan trained "
            "here, the composed filter",
            f"memory: a training step of {batch} clips on CUDA with SGD and momentum, all tensors "
            "alive, without cuDNN's workspace; the paper does not state its batch",
            f"rows by the {table.recipe} recipe; the other differs in frozen BatchNorms alone",
            *_known_differences(table),
        ],
    )


def _is_full_size_of(other: Line, line: Line) -> bool:
    full, _, suffix = other.run[2].partition("full")
    return not full and (*other.run[:2], f"itsl{suffix}") == line.run


def stage_table(table: PublishedTable, costs: Mapping[Run, Cost], batch: int) -> Table:
    """Predicted memory of every stage of every run."""
    return columns.table(
        f"{table.title}: predicted memory of every stage, {batch} clips",
        [
            Column[tuple[str, str, int, int]]("Model", lambda stage: stage[0]),
            Column("Stage", lambda stage: stage[1]),
            Column("MiB", lambda stage: f"{stage[2] / cells.MIB:,.0f}"),
            Column("of the run's peak", lambda stage: f"{100 * stage[2] / stage[3]:.0f}%"),
        ],
        [
            (table.run_name(run), name, peak, max(cost.peak_bytes.values()))
            for run, cost in costs.items()
            for name, peak in cost.peak_bytes.items()
        ],
    )


def run_of(row: Row) -> Run:
    """Model, layer and mode."""
    return row["model"], row["layer"], row["mode"]


def costs_of_rows(rows: Sequence[Row]) -> dict[Run, Cost]:
    """The costs that finished runs hold."""
    found = {run_of(row): cost_of_row(row) for row in rows}
    return {run: cost for run, cost in found.items() if cost is not None}


def _broken_notes(rows: Sequence[Row], shown: int = 5) -> list[str]:
    broken: dict[str, str] = {}
    for row in rows:
        broken |= row.get("broken_videos") or {}
    notes = [f"broken: {name} ({reason})" for name, reason in list(broken.items())[:shown]]
    if len(broken) > shown:
        notes.append(f"and {len(broken) - shown} more, in each run's result.json")
    return notes


def _known_differences(table: PublishedTable) -> list[str]:
    if not any(line.run[1] == "stdcf" for line in table.lines):
        return []
    return [
        "the paper gives TIN 6.2 G in Table 3 and 7.5 G in Table 4",
        "no ResNet-50 with M=6, N=2 has the paper's 18.5 M: α of its last stage alone is 9.4 M "
        "(docs/models.md)",
    ]


def _off(value: float | None, theirs: float | None) -> str:
    if value is None or theirs is None:
        return "–"
    return f"{100 * (value / theirs - 1):+.0f}%"
