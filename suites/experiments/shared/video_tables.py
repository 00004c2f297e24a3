"""Tables 3 and 4 as text: accuracy and cost of every published row beside the paper's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from suites.engine.published_costs import Cost, cost_of_row
from suites.engine.suite import Row
from suites.experiments.shared.video_systems import SIZE, clip
from suites.reporting import cells
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


@dataclass(frozen=True)
class PublishedTable:
    """One of the paper's tables.

    Attributes:
        title: "Table 3".
        file: in results/published.
        key: its column of names.
        counted_at: name -> the clip whose multiply-accumulates are published.
    """

    title: str
    file: str
    key: str
    lines: Sequence[Line]
    counted_at: Mapping[str, str]

    def run_name(self, run: Run) -> str:
        """A run's published name; ITSL's without the -t-3 and -s-3 of its stages."""
        first, *others = (line.name for line in self.lines if line.run == run)
        return f"{first.rsplit('-', 2)[0]}, {run[2].upper()}" if others else first

    def row(self, name: str) -> dict[str, str] | None:
        """The published row."""
        return next((row for row in published(self.file) if row[self.key] == name), None)


def accuracy_table(table: PublishedTable, rows: Sequence[Row], extra: bool = False) -> Table:
    """Top-1 and top-5 of whole videos. extra: what each run started from."""
    from suites.engine.weights import describe as origin

    body = []
    for line in table.lines:
        mine = [row for row in rows if run_of(row) == line.run]
        tested = [_of_stage(row, line.stage) for row in mine]
        ok = [row for row in tested if row["status"] == "ok"]
        theirs = table.row(line.name)
        first = ok[0] if ok else None
        cells_of_line = [
            line.name,
            cells.percent(tested, "top1"),
            cells.fixed(number(theirs, "top1"), 1),
            cells.percent(tested, "top5") if ok else "–",
            cells.fixed(number(theirs, "top5"), 1),
            str(len(ok)),
            line.clip(first["clip_shape"][-1] if first else SIZE),
            f"{first['test_videos']}" if first else "–",
            f"{len(first.get('broken_videos') or {})}" if first else "–",
        ]
        if extra:
            started = {origin(row.get("starts_from")) for row in mine}
            cells_of_line[-2:-2] = [
                ", ".join(sorted(started)) or "–",
                (theirs or {}).get("pretrain") or "–",
            ]
        body.append(cells_of_line)
    columns = ["Model", "Top-1, %", "paper", "Top-5, %", "paper's", "n", "Trained on"]
    columns += ["Started from", "paper from"] if extra else []
    return Table(
        # STDCF's clips, which are those of most rows, in the title.
        title=f"{table.title}: accuracy ({describe(sorted(rows, key=lambda r: not r['layer']))})",
        columns=[*columns, "Videos tested", "Broken"],
        rows=body,
        notes=[
            "accuracy of whole videos, scores averaged over each one's views; broken: could not be "
            "decoded, in training or testing, and were left out",
            *_broken_notes(rows),
            *provenance_notes(rows),
        ],
    )


def cost_table(table: PublishedTable, costs: Mapping[Run, Cost], batch: int) -> Table:
    """Parameters, multiply-accumulates and predicted memory of every published row."""
    body = []
    for line in table.lines:
        theirs, cost = table.row(line.name), costs.get(line.run)
        peak = cost.peak_bytes.get(line.stage) if cost else None
        params_m, gmac = number(theirs, "params_m"), number(theirs, "gflops")
        memory_gib = number(theirs, "memory_gb")
        whole = next((other for other in table.lines if _is_full_size_of(other, line)), None)
        body.append(
            [
                line.name,
                line.clip(SIZE),
                cells.fixed(cost.params / 1e6 if cost else None),
                cells.fixed(params_m, 1),
                cells.fixed(cost.macs / 1e9 if cost else None, 1),
                cells.fixed(cost.executed_macs / 1e9 if cost else None, 1),
                table.counted_at[line.name],
                cells.fixed(gmac, 1),
                cells.fixed(peak / GIB if peak else None),
                cells.fixed(memory_gib, 1),
                _off(peak / GIB if peak else None, memory_gib),
                *(_shares(table, costs, line, whole) if whole else ("", "")),
            ]
        )
    return Table(
        title=f"{table.title}: cost in the paper's setting (predicted)",
        columns=[
            "Model",
            "Trained on",
            "Params, M",
            "paper",
            "GMAC",
            "run",
            "at",
            "paper, GFLOPs",
            f"Memory, GiB ({batch} clips)",
            "paper, G",
            "off by",
            "of full size",
            "paper's",
        ],
        rows=body,
        notes=[
            "1 MAC = 1 FLOP of the paper's; GMAC of the factored form, run: of the plan trained "
            "here, the composed filter",
            f"memory: a training step of {batch} clips on CUDA with SGD and momentum, all tensors "
            "alive, without cuDNN's workspace; the paper does not state its batch",
            *_known_differences(table),
        ],
    )


def _is_full_size_of(other: Line, line: Line) -> bool:
    return other.run[:2] == line.run[:2] and other.run[2] == "full" != line.run[2] == "itsl"


def _shares(
    table: PublishedTable, costs: Mapping[Run, Cost], line: Line, whole: Line
) -> tuple[str, str]:
    """A stage's memory in percent of full size's, ours and the paper's."""
    theirs = [number(table.row(one.name), "memory_gb") for one in (line, whole)]
    ours = [
        costs[one.run].peak_bytes.get(one.stage) if one.run in costs else None
        for one in (line, whole)
    ]
    shares = (100 * a / b if a and b else None for a, b in (ours, theirs))
    own, published_share = (f"{share:.0f}%" if share else "–" for share in shares)
    return own, published_share


def stage_table(table: PublishedTable, costs: Mapping[Run, Cost], batch: int) -> Table:
    """Predicted memory of every stage of every run."""
    names = {line.run: table.run_name(line.run) for line in table.lines}
    body = []
    for run, cost in costs.items():
        largest = max(cost.peak_bytes.values())
        for stage, peak in cost.peak_bytes.items():
            body.append(
                [
                    names[run],
                    stage,
                    f"{peak / 2**20:,.0f}",
                    f"{100 * peak / largest:.0f}%",
                ]
            )
    return Table(
        title=f"{table.title}: predicted memory of every stage, {batch} clips",
        columns=["Model", "Stage", "MiB", "of the run's peak"],
        rows=body,
    )


def run_of(row: Row) -> Run:
    """Model, layer and mode."""
    return row["model"], row["layer"], row["mode"]


def costs_of_rows(rows: Sequence[Row]) -> dict[Run, Cost]:
    """The costs that finished runs hold."""
    found = {run_of(row): cost_of_row(row) for row in rows}
    return {run: cost for run, cost in found.items() if cost is not None}


def _of_stage(row: Row, stage: str) -> Row:
    """The row with the accuracies of a stage as "top1" and "top5"."""
    tested = next((s for s in row.get("stages") or () if s["stage"] == stage), None)
    if tested is None:
        return row
    return {**row, "top1": tested["video_accuracy"], "top5": tested["video_top5"]}


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
