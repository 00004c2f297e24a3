"""Table 2 as text: accuracy and memory beside the paper's, and the controls."""

from collections.abc import Mapping, Sequence
from typing import Any

from suites.engine.suite import Row
from suites.experiments.shared.kth import CONTROLS, LAYERS, MODES
from suites.reporting import cells
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

Groups = Mapping[tuple[str, str], Sequence[Row]]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy with the controls, cost, and memory in the paper's setting, of one setting."""
    groups = {
        (layer, mode): [row for row in rows if (row["layer"], row["mode"]) == (layer, mode)]
        for layer in in_order([*LAYERS, *(row["layer"] for row in rows)])
        for mode in (*MODES, *CONTROLS)
    }
    return [_accuracy(groups, rows), _cost(groups, rows), _published_memory(groups)]


def _layers(groups: Groups) -> list[str]:
    return list(dict.fromkeys(layer for layer, _ in groups))


def _accuracy(groups: Groups, rows: Sequence[Row]) -> Table:
    body = []
    for mode in (*MODES, *CONTROLS):
        for layer in _layers(groups):
            group = groups[layer, mode]
            one = _first_ok(group)
            difference = cells.paired_difference(group, groups[layer, "full"])
            body.append(
                [
                    layer_name(layer) + _mark(group),
                    MODE_NAMES[mode],
                    " / ".join(one["train_shapes"]) if one else "–",
                    cells.percent(group),
                    str(sum(row["status"] == "ok" for row in group)),
                    cells.fixed(number(_published(layer, mode), "accuracy")),
                    ""
                    if mode == "full"
                    else "–"
                    if difference is None
                    else cells.with_interval(difference, sign=True),
                    cells.fixed(_published_drop(layer), sign=True) if mode == "itsl" else "",
                    cells.percent(group, "video_accuracy") if one else "–",
                ]
            )
    return Table(
        title=f"Table 2: accuracy ({describe(rows)})",
        columns=[
            "Layer",
            "Training",
            "Trained on",
            "Clip acc., %",
            "n",
            "Paper (KTH)",
            "vs full size",
            "Paper's",
            "Video acc., %",
        ],
        rows=body,
        notes=[
            "controls: 2.25× is full size for ITSL's whole computation; dil. 2 is full size, "
            "trained and tested at dilation 2",
            *_difference_notes(groups),
            *provenance_notes(rows),
        ],
    )


def _cost(groups: Groups, rows: Sequence[Row]) -> Table:
    body = []
    for mode in MODES:
        for layer in _layers(groups):
            group = groups[layer, mode]
            one, full = _first_ok(group) or {}, _first_ok(groups[layer, "full"]) or {}
            body.append(
                [
                    layer_name(layer) + _mark(group),
                    MODE_NAMES[mode],
                    f"{one['params']:,}" if one else "–",
                    cells.millions(one.get("macs")),
                    cells.millions(one.get("executed_macs")),
                    cells.millions(one.get("fvcore_macs")),
                    cells.mib(one.get("predicted_cuda_peak_bytes")),
                    cells.mib(one.get("predicted_peak_bytes")),
                    cells.mib(one.get("measured_peak_bytes")),
                    _reduction(one, full, "measured_peak_bytes", digits=1),
                ]
            )
    measured = sorted(
        {f"{row['measured_by']} on {row['device']}" for row in rows if row["status"] == "ok"}
    )
    return Table(
        title="Table 2: cost of these runs (of one clip; peak memory of a training step in MiB)"
        + (" — SYNTHETIC clips" if any(row.get("synthetic") for row in rows) else ""),
        columns=[
            "Layer",
            "Training",
            "Params",
            "MACs, M",
            "run, M",
            "fvcore, M",
            "Peak on CUDA, pred.",
            "Peak here, pred.",
            "Peak here, meas.",
            "vs full size",
        ],
        rows=body,
        notes=[
            f"here: {', '.join(measured) or 'nothing'}; ITSL's peak is its largest stage's",
            "MACs of the factored form; run: of the plan that is trained here, the composed filter",
            *_fvcore_notes(rows),
        ],
    )


def _published_memory(groups: Groups) -> Table:
    body = []
    for mode in MODES:
        for layer in _layers(groups):
            group = groups[layer, mode]
            one, full = _first_ok(group) or {}, _first_ok(groups[layer, "full"]) or {}
            paper_mib = number(_published(layer, mode), "peak_memory_mib")
            body.append(
                [
                    layer_name(layer) + _mark(group),
                    MODE_NAMES[mode],
                    cells.mib(one.get("predicted_published_peak_bytes")),
                    cells.fixed(paper_mib, 1),
                    _off(one, paper_mib),
                    _reduction(one, full, "predicted_published_peak_bytes"),
                    _published_reduction(layer) if mode == "itsl" else "",
                    cells.mib(one.get("predicted_published_today_peak_bytes")),
                ]
            )
    return Table(
        title="Table 2: peak memory in the paper's setting, MiB",
        columns=[
            "Layer",
            "Training",
            "Predicted, 2021's ReLU",
            "Paper",
            "off by",
            "vs full size",
            "Paper's",
            "Predicted, today's ReLU",
        ],
        rows=body,
        notes=[
            "16×60×80 gray clips, batch 16, Adam: all tensors alive, without cuDNN's workspace; "
            "ReLU kept its input in 2021 and keeps its output today",
        ],
    )


def _difference_notes(groups: Groups) -> list[str]:
    notes = []
    for layer in _layers(groups):
        itsl = groups[layer, "itsl"]
        against = {
            mode: cells.paired_difference(itsl, groups[layer, mode]) for mode in ("full", *CONTROLS)
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


def _published(layer: str, mode: str) -> dict[str, str] | None:
    return next(
        (r for r in published("table2_kth") if (r["layer"], r["mode"]) == (layer, mode)), None
    )


def _first_ok(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row["status"] == "ok"), None)


def _mark(rows: Sequence[Row]) -> str:
    return " †" if any(row["shipped"] for row in rows) else ""


def _reduction(one: Row, full: Row, column: str, digits: int = 2) -> str:
    if one is full:
        return ""
    if not one.get(column) or not full.get(column):
        return "–"
    return f"{100 * (one[column] / full[column] - 1):+.{digits}f}%"


def _off(one: Row, paper_mib: float | None) -> str:
    if not one.get("predicted_published_peak_bytes") or paper_mib is None:
        return "–"
    return f"{100 * (one['predicted_published_peak_bytes'] / cells.MIB / paper_mib - 1):+.2f}%"


def _published_reduction(layer: str) -> str:
    full, half = (number(_published(layer, mode), "peak_memory_mib") for mode in MODES)
    return "–" if not full or not half else f"{100 * (half / full - 1):+.2f}%"


def _published_drop(layer: str) -> float | None:
    full, itsl = (number(_published(layer, mode), "accuracy") for mode in MODES)
    return None if full is None or itsl is None else itsl - full
