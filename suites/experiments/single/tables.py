"""Accuracy, memory and time of single runs."""

from collections.abc import Sequence
from operator import itemgetter

from stdcf.memory.savers.names import label
from suites.engine.suite import Row
from suites.reporting import cells, columns
from suites.reporting.columns import Column, Line
from suites.tables.table import Table


def table(rows: Sequence[Row]) -> Table:
    """One line a run."""
    return columns.table(
        f"Single runs ({_data(rows)})",
        [
            Column[Line]("Model", lambda line: "{model} {layer}".format(**line.rows[0])),
            Column("Training", lambda line: line.rows[0]["mode"].partition("-")[0]),
            Column("Savers", lambda x: "+".join(map(label, x.rows[0].get("savers") or ())) or "–"),
            columns.percent("Clip acc., %"),
            Column("Peak pred., MiB", lambda x: cells.mib(x.rows[0].get("predicted_peak_bytes"))),
            Column("Peak meas., MiB", lambda x: cells.mib(x.rows[0].get("measured_peak_bytes"))),
            columns.seconds("Seconds"),
        ],
        [Line([row]) for row in sorted(rows, key=itemgetter("model", "layer", "mode", "seed"))],
        [*_measured_by(rows), *_ends(rows)],
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
