"""Table 2 as text: accuracy and memory beside the paper's, and the controls."""

from collections.abc import Mapping, Sequence
from typing import Any

from suites import cells
from suites.published import number, published
from suites.suite import Row
from suites.table import Table

LAYERS = ("regular", "rank1", "stdcf")
MODES = ("full", "itsl")
CONTROLS = ("full_same_compute", "full_dilated")
LAYER_NAMES = {"regular": "Reg. 3D", "rank1": "Rank-1 3D", "stdcf": "STDCF"}
MODE_NAMES = {
    "full": "full size",
    "itsl": "ITSL (E=3)",
    "full_same_compute": "full size, 2.25× epochs",
    "full_dilated": "full size, dilation 2",
}

Groups = Mapping[tuple[str, str], Sequence[Row]]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy (with the controls) and memory, of the rows of one setting."""
    groups = {
        (layer, mode): [row for row in rows if (row["layer"], row["mode"]) == (layer, mode)]
        for layer in LAYERS
        for mode in (*MODES, *CONTROLS)
    }
    return [_accuracy(groups, rows), _memory(groups, rows)]


def _accuracy(groups: Groups, rows: Sequence[Row]) -> Table:
    body = []
    for mode in (*MODES, *CONTROLS):
        for layer in LAYERS:
            group = groups[layer, mode]
            paper = _published(layer, mode)
            paper_accuracy = number(paper, "accuracy")
            drop = cells.paired_difference(group, groups[layer, "full"])
            paper_drop = None
            if mode == "itsl" and paper_accuracy is not None:
                full_accuracy = number(_published(layer, "full"), "accuracy")
                paper_drop = paper_accuracy - full_accuracy if full_accuracy else None
            one = _first_ok(group)
            body.append(
                [
                    LAYER_NAMES[layer] + _mark(group),
                    MODE_NAMES[mode],
                    " / ".join(one["train_shapes"]) if one else "–",
                    f"{one['params']:,}" if one else "–",
                    cells.millions(one["macs"]) if one else "–",
                    _fvcore(one),
                    cells.percent(group),
                    str(sum(row["status"] == "ok" for row in group)),
                    cells.fixed(paper_accuracy),
                    "" if mode == "full" or drop is None else cells.with_interval(drop, sign=True),
                    cells.fixed(paper_drop, sign=True) if mode == "itsl" else "",
                    cells.percent(group, "video_accuracy") if one else "–",
                ]
            )
    return Table(
        title=f"Table 2: accuracy ({describe(rows)})",
        columns=[
            "Layer",
            "Training",
            "Clips trained on",
            "Params",
            "MACs/clip, M",
            "fvcore's, M",
            "Clip acc., %",
            "n",
            "Paper (KTH), %",
            "vs full size",
            "Paper's",
            "Video acc., %",
        ],
        rows=body,
        notes=[*_difference_notes(groups), *_fvcore_notes(rows), *provenance_notes(rows)],
    )


def _memory(groups: Groups, rows: Sequence[Row]) -> Table:
    body = []
    for mode in MODES:
        for layer in LAYERS:
            one = _first_ok(groups[layer, mode]) or {}
            full = _first_ok(groups[layer, "full"]) or {}
            paper = _published(layer, mode)
            body.append(
                [
                    LAYER_NAMES[layer] + _mark(groups[layer, mode]),
                    MODE_NAMES[mode],
                    cells.mib(one.get("predicted_cuda_peak_bytes")),
                    cells.mib(one.get("predicted_peak_bytes")),
                    cells.mib(one.get("measured_peak_bytes")),
                    _reduction(one, full, "measured_peak_bytes"),
                    cells.mib(one.get("predicted_published_today_peak_bytes")),
                    cells.mib(one.get("predicted_published_peak_bytes")),
                    cells.fixed(number(paper, "peak_memory_mib"), 1),
                    _off(one, number(paper, "peak_memory_mib")),
                    _reduction(one, full, "predicted_published_peak_bytes"),
                    _paper_reduction(layer) if mode == "itsl" else "",
                ]
            )
    measured = sorted(
        {f"{row['measured_by']} on {row['device']}" for row in rows if row["status"] == "ok"}
    )
    return Table(
        title="Table 2: peak memory of one training step, MiB",
        columns=[
            "Layer",
            "Training",
            "This run, predicted: CUDA",
            "its device",
            "measured",
            "reduction",
            "Paper's setting, predicted: today's ReLU",
            "2021's ReLU",
            "Paper",
            "2021 off by",
            "reduction",
            "Paper's",
        ],
        rows=body,
        notes=[
            f"measured by {', '.join(measured) or 'nothing'}; ITSL's peak is its largest stage's",
            "paper's setting: 16×60×80 gray clips, batch 16, Adam; tensors alive, without cuDNN's "
            "workspace; ReLU kept its input until 2021 and keeps its output today",
        ],
    )


def describe(rows: Sequence[Row]) -> str:
    """What the rows were measured on, for a title."""
    if not rows:
        return "no runs yet"
    row = _first_ok(rows) or rows[0]
    parts = [row["dataset"] + (" — SYNTHETIC clips" if row.get("synthetic") else "")]
    if "clip_shape" in row:
        parts.append("×".join(str(n) for n in row["clip_shape"][1:]) + " clips")
        parts.append(f"{row['train_clips']} train, {row['test_clips']} test")
    epochs = row.get("epochs_per_stage")
    parts.append(f"{row['profile']} profile" + (f", {epochs} epochs a stage" if epochs else ""))
    parts.append(row["dtype"])
    return ", ".join(parts)


def provenance_notes(rows: Sequence[Row]) -> list[str]:
    """Marks and warnings that every table of these rows carries."""
    notes = sorted({note for row in rows for note in row.get("notes") or ()})
    shipped = [row for row in rows if row["shipped"]]
    if shipped:
        days = sorted(row["finished"][:10] for row in shipped)
        when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
        devices = ", ".join(sorted({row["device"] for row in shipped}))
        notes.append(f"† shipped with the repository: measured {when} on {devices}")
    commits = sorted({row["commit"][:9] + ("+changes" if row["dirty"] else "") for row in rows})
    if len(commits) > 1:
        notes.append(f"rows of {len(commits)} versions of the code: {', '.join(commits)}")
    elif commits:
        notes.append(f"code {commits[0]}")
    bad = [row for row in rows if row["status"] != "ok"]
    notes += [
        f"{row['layer']} {row['mode']} seed {row['seed']}: {row['status']} ({row['reason']})"
        for row in bad
    ]
    return notes


def _difference_notes(groups: Groups) -> list[str]:
    notes = []
    for layer in LAYERS:
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
        notes.append(f"{LAYER_NAMES[layer]}: ITSL's difference is " + ", ".join(parts))
    return notes


def _fvcore(row: Row | None) -> str:
    return "–" if row is None or row["fvcore_macs"] is None else cells.millions(row["fvcore_macs"])


def _fvcore_notes(rows: Sequence[Row]) -> list[str]:
    named: dict[str, Any] = {}
    for row in rows:
        named.update(row.get("fvcore_unsupported") or {})
    counted = any(row.get("fvcore_macs") is not None for row in rows)
    notes = ["MACs are convolutions and matrix products; fvcore adds BatchNorm"] if counted else []
    return [*notes, f"fvcore does not count {', '.join(sorted(named))}"] if named else notes


def _published(layer: str, mode: str) -> dict[str, str] | None:
    return next(
        (r for r in published("table2_kth") if (r["layer"], r["mode"]) == (layer, mode)), None
    )


def _first_ok(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row["status"] == "ok"), None)


def _mark(rows: Sequence[Row]) -> str:
    return " †" if any(row["shipped"] for row in rows) else ""


def _reduction(one: Row, full: Row, column: str) -> str:
    if one is full:
        return ""
    if not one.get(column) or not full.get(column):
        return "–"
    return f"{100 * (one[column] / full[column] - 1):+.2f}%"


def _off(one: Row, paper_mib: float | None) -> str:
    if not one or paper_mib is None:
        return "–"
    return f"{100 * (one['predicted_published_peak_bytes'] / cells.MIB / paper_mib - 1):+.2f}%"


def _paper_reduction(layer: str) -> str:
    full, half = (number(_published(layer, mode), "peak_memory_mib") for mode in MODES)
    return "–" if not full or not half else f"{100 * (half / full - 1):+.2f}%"
