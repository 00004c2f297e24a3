"""Memory caps as text: what fits, what it costs, and accuracy under one cap."""

from collections.abc import Mapping, Sequence
from typing import Any

from suites.engine.suite import Row
from suites.experiments.memory_caps.techniques import (
    BUDGETS,
    LARGEST_BATCH,
    in_suite_order,
    split_mode,
)
from suites.reporting import cells
from suites.reporting.figures.style import LAYER_NAMES
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

GIB = 2**30


def tables(rows: Sequence[Row]) -> list[Table]:
    """One table a network, then costs measured here, then accuracy; each if there are rows."""
    rows = in_suite_order(rows)
    plans = [row for row in rows if "dataset" in row and row["dataset"] == "none"]
    trained = [row for row in rows if row["dataset"] != "none"]
    found = []
    for network in dict.fromkeys(row["model"] for row in plans):
        own = [row for row in plans if row["model"] == network]
        found.append(_fits(network, own))
        if any("step_seconds" in way for row in own for way in _ways(row).values()):
            found.append(_measured(network, own))
    return [*found, *([_accuracy(trained)] if trained else [])]


def _ways(row: Row) -> Mapping[str, Mapping[str, Any]]:
    return row.get("techniques") or {}


def _fits(network: str, rows: Sequence[Row]) -> Table:
    ok = [row for row in rows if row["status"] == "ok"]
    caps = list(next(iter(_ways(ok[0]).values()))["room"]) if ok else []
    body = []
    for row in ok:
        plain = _ways(row)["full size"]
        for name, way in _ways(row).items():
            body.append(
                [
                    LAYER_NAMES[row["layer"]],
                    name,
                    f"{way['peak_bytes'] / GIB:.2f}",
                    f"{way['peak_bytes'] / plain['peak_bytes']:.2f}",
                    f"{way['reserved_bytes'] / GIB:.2f}",
                    f"{way['step_cost']:.2f}×",
                    f"{way['training_cost']:.2f}×",
                    *(_room(way["room"][cap]) for cap in caps),
                ]
            )
    first = ok[0] if ok else None
    size = "×".join(map(str, first["input_shape"])) if first else "–"
    return Table(
        title=f"{network}: clips a step under each cap (predicted for CUDA, plan {size})",
        columns=[
            "Layer",
            "Technique",
            "Peak, GiB",
            "of full",
            "Reserved",
            "Step",
            "Training",
            *(f"{cap} GiB" for cap in caps),
        ],
        rows=body,
        notes=[
            "peak: all tensors of a step with the plan's batch; reserved: the CUDA allocator's "
            "blocks, simulated, with what cuBLAS and cuDNN take of it, which is what the caps are "
            "about; CUDA's context is not in it",
            "step, training: multiplications against plain full size, at equal epochs a stage; "
            "under each cap: the largest batch, or of one clip the largest height and width",
            *provenance_notes(rows),
        ],
    )


def _room(clips: float) -> str:
    """The batch that fits, or what part of one clip's height and width does."""
    if clips >= 1:
        return f"{int(clips):,}"
    return f"1 at {100 * clips**0.5:.0f}%" if clips > 0 else "none"


def _measured(network: str, rows: Sequence[Row]) -> Table:
    body = []
    for row in rows:
        ways = _ways(row)
        if not any("step_seconds" in way for way in ways.values()):
            continue
        plain = ways["full size"]
        for name, way in ways.items():
            if "step_seconds" not in way:
                continue
            off = way["measured_peak_bytes"] / way["predicted_here_bytes"] - 1
            body.append(
                [
                    LAYER_NAMES[row["layer"]],
                    name,
                    cells.mib(way["measured_peak_bytes"]),
                    f"{way['measured_peak_bytes'] / plain['measured_peak_bytes']:.2f}",
                    f"{100 * off:+.2f}%",
                    f"{way['step_seconds']:.3f}",
                    f"{way['step_seconds'] / plain['step_seconds']:.2f}×",
                ]
            )
    first = rows[0]
    size = "×".join(map(str, first.get("measured_shape") or ()))
    return Table(
        title=f"{network}: steps that ran, {size} on {first['device']}",
        columns=[
            "Layer",
            "Technique",
            "Peak, MiB",
            "of full",
            "vs predicted",
            "Step, s",
            "of full's",
        ],
        rows=body,
        notes=[
            f"peak measured by {first.get('measured_by')}; time: median, of ITSL the mean of its "
            f"two stages; {first['threads']} thread(s)"
        ],
    )


def _accuracy(rows: Sequence[Row]) -> Table:
    body = []
    keys = dict.fromkeys((row["layer"], row["mode"]) for row in rows)
    for layer, mode in keys:
        group = [row for row in rows if (row["layer"], row["mode"]) == (layer, mode)]
        one = next((row for row in group if row["status"] == "ok"), None)
        technique, budget = split_mode(mode)
        body.append(
            [
                LAYER_NAMES[layer] + (" †" if any(row["shipped"] for row in group) else ""),
                technique,
                BUDGETS.get(budget, budget),
                str(one["batch_size"]) if one else "–",
                str(one["epochs_per_stage"]) if one else "–",
                cells.mib(one["measured_peak_bytes"]) if one else "–",
                cells.percent(group),
                str(sum(row["status"] == "ok" for row in group)),
                f"{one['train_seconds']:.0f}" if one else "–",
            ]
        )
    caps = {row["cap_bytes"] for row in rows if row.get("cap_bytes")}
    cap = f", cap {cells.mib(caps.pop())} MiB" if len(caps) == 1 else ""
    return Table(
        title=f"kth_cnn under one cap ({trained_on(rows)}{cap})",
        columns=[
            "Layer",
            "Technique",
            "For",
            "Batch",
            "Epochs a stage",
            "Peak meas., MiB",
            "Clip acc., %",
            "n",
            "Seconds",
        ],
        rows=body,
        notes=[
            f"batch: the largest that fits, at most {LARGEST_BATCH[rows[0]['profile']]}",
            "ITSL has six stages on smaller clips, of 2.25 times the computation of full size's",
            *provenance_notes(rows),
        ],
    )


def trained_on(rows: Sequence[Row]) -> str:
    """What trained rows were measured on; epochs and types of numbers are their own."""
    return describe([{**row, "epochs_per_stage": None, "dtype": "float32 or bf16"} for row in rows])
