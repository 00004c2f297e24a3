"""Accuracy, memory and time of single runs."""

from collections.abc import Sequence

from suites.engine.suite import Row
from suites.reporting import cells
from suites.tables.table import Table


def table(rows: Sequence[Row]) -> Table:
    """One line a run."""
    body = []
    for row in sorted(rows, key=lambda row: (row["model"], row["layer"], row["mode"], row["seed"])):
        ok = row["status"] == "ok"
        body.append(
            [
                f"{row['model']} {row['layer']}",
                row["mode"].partition("-")[0],
                "+".join(row.get("savers") or ()) or "–",
                f"{100 * row['accuracy']:.2f}" if ok else row["status"],
                cells.mib(row.get("predicted_peak_bytes")),
                cells.mib(row.get("measured_peak_bytes")),
                f"{row['train_seconds']:.0f}" if ok else "–",
            ]
        )
    return Table(
        title=f"Single runs ({_data(rows)})",
        columns=[
            "Model",
            "Training",
            "Savers",
            "Clip acc., %",
            "Peak pred., MiB",
            "Peak meas., MiB",
            "Seconds",
        ],
        rows=body,
        notes=[*_measured_by(rows), *_ends(rows)],
    )


def _data(rows: Sequence[Row]) -> str:
    row = next((row for row in rows if row["status"] == "ok"), rows[0])
    words = [row["dataset"] + (" — SYNTHETIC clips" if row.get("synthetic") else "")]
    if "clip_shape" in row:
        words.append("×".join(map(str, row["clip_shape"][1:])) + " clips")
    if row.get("epochs_per_stage"):
        words.append(f"{row['epochs_per_stage']} epochs a stage")
    return ", ".join(words)


def _measured_by(rows: Sequence[Row]) -> list[str]:
    found = sorted({f"{r['measured_by']} on {r['device']}" for r in rows if r.get("measured_by")})
    return [f"measured: {', '.join(found)}"] if found else []


def _ends(rows: Sequence[Row]) -> list[str]:
    notes = [
        f"{row['model']} {row['mode']} seed {row['seed']}: {row['status']} ({row['reason']})"
        for row in rows
        if row["status"] != "ok"
    ]
    for row in rows:
        small = {s["test_batch_size"] for s in row.get("stages") or () if "test_batch_size" in s}
        if row.get("batch_size") and small and min(small) < row["batch_size"]:
            notes.append(
                f"{row['mode']} seed {row['seed']}: tested {min(small)} clips at a time, for more "
                "pass the cap; it changes no score"
            )
    return notes
