"""gpu_evidence as text: what was taken, the comparison, and what follows from it."""

from collections.abc import Sequence

from suites.engine.spec import NO_DATA
from suites.engine.suite import Row
from suites.experiments.gpu_evidence.memory_tables import memory_tables
from suites.experiments.gpu_evidence.speed_tables import (
    auto_table,
    floors_table,
    kernel_table,
    throughput_table,
)
from suites.experiments.kth_table2 import tables as kth_table2_tables
from suites.experiments.layer_speed import tables as layer_speed_tables
from suites.tables.table import Table

ITEMS = {
    "1": "the machine",
    "2": "Table 2's memory",
    "3": "Table 3's memory",
    "4": "every saver and type, and cuDNN's workspaces",
    "5": "caps",
    "9": "the fused kernel: its errors and memory",
    "6": "the layer's speed",
    "7": "training throughput",
    "8": "Table 2 on real clips",
    "predicted": "predictions (no GPU needed)",
}
_ON_CPU = {"6": " (on a CPU: suites.run layer_speed)"}
_NOT_TAKEN = {
    "8": "needs --dataset weizmann --data-root FILE, and stands in a setting of its own",
    "predicted": "not yet, or in the setting of the GPU that they are of",
}
_NEEDS_GPU = ("2", "3", "4", "5", "6", "9")


def item(row: Row) -> str:
    """Which of `ITEMS` a row belongs to."""
    if row["dataset"] != NO_DATA:
        return "8"
    first = str(row["mode"]).partition("-")[0]
    return first if first in ITEMS else "6"


def tables(rows: Sequence[Row]) -> list[Table]:
    """What was taken first; then each item's, where there are rows."""
    if not rows:
        return []
    if all(item(row) == "8" for row in rows):
        return kth_table2_tables.tables(rows)
    by_item = {name: [row for row in rows if item(row) == name] for name in ITEMS}
    ok = {name: [row for row in own if row["status"] == "ok"] for name, own in by_item.items()}
    found = [_taken(by_item, rows)]
    if ok["1"]:
        found.append(_machine(ok["1"]))
    found += memory_tables(ok)
    if ok["6"]:
        found += layer_speed_tables.tables(by_item["6"])
        found += [auto_table(ok["6"]), floors_table(ok["6"], ok["1"])]
    kernel = [row for row in by_item["9"] if "-kernel-" in row["mode"]]
    if kernel:
        found.append(kernel_table(kernel))
    if ok["7"]:
        found.append(throughput_table(ok["7"]))
    if by_item["8"]:
        found += kth_table2_tables.tables(by_item["8"])
    return found


def _taken(by_item: dict[str, list[Row]], rows: Sequence[Row]) -> Table:
    on_gpu = any(str(row["device"]).startswith("cuda") for row in rows)
    body = []
    for name, title in ITEMS.items():
        own = by_item[name]
        good = sum(row["status"] == "ok" for row in own)
        devices = sorted({str(row["device"]) for row in own})
        why = "–"
        if not own and name in _NEEDS_GPU and not on_gpu:
            why = "skipped: needs a GPU" + _ON_CPU.get(name, "")
        elif not own:
            why = _NOT_TAKEN.get(name, "not yet")
        body.append([name, title, str(good), str(len(own) - good), ", ".join(devices) or why])
    left_out = sorted({word for row in rows for word in row.get("left_out") or ()})
    failed = [f"{r['mode']}: {r['status']} ({r['reason']})" for r in rows if r["status"] != "ok"]
    failed += [line for row in rows if row["status"] == "ok" for line in row.get("failed") or ()]
    notes = [] if on_gpu else ["NO GPU took part: nothing here was measured on one"]
    notes += [f"left out, not installed or did not fit: {', '.join(left_out)}"] if left_out else []
    commits = sorted({str(row["commit"])[:9] + ("+" if row["dirty"] else "") for row in rows})
    return Table(
        title="GPU evidence: rows taken",
        columns=["Item", "What", "ok", "Not ok", "On"],
        rows=body,
        notes=[*notes, *failed, f"code {', '.join(commits)}"],
    )


def _machine(rows: Sequence[Row]) -> Table:
    body = []
    for row in rows:
        machine = row["machine"]
        body.append(
            [str(row["device"]), "copy, GB/s", *_rate(row["copy"], "bytes_per_second", 1e9)]
        )
        for name, rate in row["matrix"].items():
            words = _rate(rate, "flops_per_second", 1e12)
            body.append([str(row["device"]), f"matrix {name}, TFLOP/s", *words])
        facts = ("gpu", "driver", "cuda", "cudnn", "torch", "python")
        last = ", ".join(f"{name} {machine[name]}" for name in facts if machine.get(name))
        body.append([str(row["device"]), "versions", last, "–"])
    return Table(
        title="The machine, as measured",
        columns=["Device", "What", "Median", "Range"],
        rows=body,
        notes=["copy: bytes read and written; products checked against float64 first"],
    )


def _rate(found: dict[str, float], column: str, unit: float) -> tuple[str, str]:
    rate = found[column] / unit
    ends = [rate * found["seconds"] / found[end] for end in ("high", "low")]
    return f"{rate:,.2f}", f"{ends[0]:,.2f}–{ends[1]:,.2f}"
