"""Table 2 as text: accuracy and memory beside the paper's, and the controls."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from suites.engine.suite import Row
from suites.experiments.kth_table2 import settled
from suites.experiments.kth_table2.fold_tests import VALUE, fold_tests
from suites.experiments.shared.kth import CONTROLS, LAYERS, MODES
from suites.reporting import cells, columns
from suites.reporting.columns import Column, Line
from suites.reporting.figures.style import in_order, layer_name
from suites.reporting.published import number, published
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

MODE_NAMES = {
    "full": "full size",
    "itsl": "ITSL, E=3",
    "full_same_compute": "full, 2.25×",
    "full_dilated": "full, dil. 2",
}

Groups = Mapping[tuple[str, str], Line]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy with the controls, cost, and memory in the paper's setting, of one setting."""
    groups: dict[tuple[str, str], Line] = {}
    for mode in (*MODES, *CONTROLS):
        for layer in in_order([*LAYERS, *(row["layer"] for row in rows)]):
            own = [row for row in rows if (row["layer"], row["mode"]) == (layer, mode)]
            base = None if mode == "full" else groups[layer, "full"].rows
            groups[layer, mode] = Line(own, mode, layer, base)
    by_group = {group: line.rows for group, line in groups.items()}
    tests = fold_tests(by_group, LAYERS, describe(rows))
    return [
        _accuracy(groups, rows),
        *([tests] if tests else []),
        _cost(groups, rows),
        _published_memory(groups),
    ]


_NAMES = [columns.layer(), Column[Line]("Training", lambda line: MODE_NAMES[line.key])]


def _again(line: Line) -> Line:
    """The line by its recalibrated accuracy, of the rows that have one."""

    def having(rows: Sequence[Row]) -> list[Row]:
        return [row for row in rows if VALUE in row]

    base = None if line.base is None else having(line.base)
    return replace(line, rows=having(line.rows), base=base, value=VALUE)


def _rates(line: Line) -> str:
    """Each rate with its factor for atoms, and of how many runs it is if they differ."""
    counts = Counter((row["lr"], row["atom_lr"]) for row in line.ok if "lr" in row)
    texts = {
        rate: f"{rate[0]:g}" + (f", atoms ×{rate[1]:g}" if rate[1] != 1 else "") for rate in counts
    }
    if len(counts) < 2:
        return "".join(texts.values()) or "–"
    return "; ".join(f"{texts[rate]} ({count})" for rate, count in counts.most_common())


_PERCENT_AGAIN = columns.percent("Recalibrated, %")
_DIFFERENCE_AGAIN = columns.difference("Recal. vs full")
_RECALIBRATED = [
    Column[Line]("Recalibrated, %", lambda line: _PERCENT_AGAIN.cell(_again(line))),
    Column[Line]("Recal. vs full", lambda line: _DIFFERENCE_AGAIN.cell(_again(line))),
    Column[Line]("Rate", _rates),
]


def _accuracy(groups: Groups, rows: Sequence[Row]) -> Table:
    return columns.table(
        f"Table 2: accuracy ({describe(rows)})",
        [
            *_NAMES,
            columns.first("Trained on", lambda row: " / ".join(row["train_shapes"])),
            columns.percent("Clip acc., %"),
            columns.count(),
            columns.published("Paper (KTH)", lambda x: _published(x.layer, x.key, "accuracy")),
            columns.difference("vs full size"),
            _of_itsl("Paper's", lambda layer: cells.fixed(_published_drop(layer), sign=True)),
            columns.more_percent("Video acc., %", "video_accuracy"),
            *(_RECALIBRATED if any("recalibrated_accuracy" in row for row in rows) else ()),
        ],
        groups.values(),
        [
            "controls: 2.25× is full size for ITSL's whole computation; dil. 2 is full size, "
            "trained and tested at dilation 2",
            *_recalibration_notes(rows),
            *_difference_notes(groups),
            *provenance_notes(rows),
        ],
    )


def _cost(groups: Groups, rows: Sequence[Row]) -> Table:
    measured = sorted(
        {f"{row['measured_by']} on {row['device']}" for row in rows if row["status"] == "ok"}
    )
    synthetic = " — SYNTHETIC clips" if any(row.get("synthetic") for row in rows) else ""
    return columns.table(
        "Table 2: cost of these runs (of one clip; peak memory of a training step in MiB)"
        + synthetic,
        [
            *_NAMES,
            columns.params(),
            columns.millions("MACs, M", "macs"),
            columns.millions("run, M", "executed_macs"),
            columns.millions("fvcore, M", "fvcore_macs"),
            columns.mib("Peak on CUDA, pred.", "predicted_cuda_peak_bytes"),
            columns.mib("Peak here, pred.", "predicted_peak_bytes"),
            columns.mib("Peak here, meas.", "measured_peak_bytes"),
            _reduction("measured_peak_bytes", digits=1),
        ],
        [line for line in groups.values() if line.key in MODES],
        [
            f"here: {', '.join(measured) or 'nothing'}; ITSL's peak is its largest stage's",
            "MACs of the factored form; run: of the plan that is trained here, the composed filter",
            *_fvcore_notes(rows),
        ],
    )


def _published_memory(groups: Groups) -> Table:
    return columns.table(
        "Table 2: peak memory in the paper's setting, MiB",
        [
            *_NAMES,
            columns.mib("Predicted, 2021's ReLU", "predicted_published_peak_bytes"),
            columns.published("Paper", _published_mib, 1),
            Column("off by", _off),
            _reduction("predicted_published_peak_bytes", digits=2),
            _of_itsl("Paper's", _published_reduction),
            columns.mib("Predicted, today's ReLU", "predicted_published_today_peak_bytes"),
        ],
        [line for line in groups.values() if line.key in MODES],
        [
            "16×60×80 gray clips, batch 16, Adam: all tensors alive, without cuDNN's workspace; "
            "ReLU kept its input in 2021 and keeps its output today",
        ],
    )


def _of_itsl(head: str, text: Callable[[str], str]) -> Column[Line]:
    return Column(head, lambda line: text(line.layer) if line.key == "itsl" else "")


def _recalibration_notes(rows: Sequence[Row]) -> list[str]:
    if not any(VALUE in row for row in rows):
        return []
    done = settled.note([row for row in rows if row["status"] == "ok"])
    return [
        "recalibrated: BatchNorm's statistics estimated anew on training clips at the size, "
        "dilation and dropout of the test",
        *([done] if done else []),
    ]


def _difference_notes(groups: Groups) -> list[str]:
    notes = []
    for layer in dict.fromkeys(layer for layer, _ in groups):
        against = {
            mode: cells.paired_difference(groups[layer, "itsl"].rows, groups[layer, mode].rows)
            for mode in ("full", *CONTROLS)
        }
        if against["full"] is None:
            continue
        parts = [f"{cells.with_interval(against['full'], sign=True)} points against full size"]
        for mode, words in (
            ("full_same_compute", "against full size for the same computation"),
            ("full_dilated", "against full size at dilation 2"),
        ):
            found = against[mode]
            left = "unknown (not run)" if found is None else cells.with_interval(found, sign=True)
            parts.append(f"{left} {words}")
        notes.append(f"{layer_name(layer)}: ITSL's difference is " + ", ".join(parts))
    return notes


def _fvcore_notes(rows: Sequence[Row]) -> list[str]:
    named: dict[str, Any] = {}
    for row in rows:
        named.update(row.get("fvcore_unsupported") or {})
    counted = any(row.get("fvcore_macs") is not None for row in rows)
    notes = ["fvcore, of the factored form, counts BatchNorm too"] if counted else []
    return [*notes, f"fvcore does not count {', '.join(sorted(named))}"] if named else notes


def _published(layer: str, mode: str, column: str) -> float | None:
    rows = published("table2_kth")
    return number(next((r for r in rows if (r["layer"], r["mode"]) == (layer, mode)), None), column)


def _published_mib(line: Line) -> float | None:
    return _published(line.layer, line.key, "peak_memory_mib")


def _reduction(field: str, digits: int) -> Column[Line]:
    """Bytes against full size's."""

    def cell(line: Line) -> str:
        if line.base is None:
            return ""
        own, full = ((Line(rows).first or {}).get(field) for rows in (line.rows, line.base))
        return f"{100 * (own / full - 1):+.{digits}f}%" if own and full else "–"

    return Column("vs full size", cell)


def _off(line: Line) -> str:
    predicted = (line.first or {}).get("predicted_published_peak_bytes")
    paper = _published_mib(line)
    if not predicted or paper is None:
        return "–"
    return f"{100 * (predicted / cells.MIB / paper - 1):+.2f}%"


def _published_reduction(layer: str) -> str:
    full, half = (_published(layer, mode, "peak_memory_mib") for mode in MODES)
    return "–" if not full or not half else f"{100 * (half / full - 1):+.2f}%"


def _published_drop(layer: str) -> float | None:
    full, itsl = (_published(layer, mode, "accuracy") for mode in MODES)
    return None if full is None or itsl is None else itsl - full
