"""What tables and figures say of their rows: the data, the machine, the day, what went wrong."""

from collections.abc import Sequence

from suites.engine.suite import Row


def describe(rows: Sequence[Row]) -> str:
    """What the rows were measured on, for a title."""
    if not rows:
        return "no runs yet"
    row = next((row for row in rows if row["status"] == "ok"), rows[0])
    parts = [row["dataset"] + (" — SYNTHETIC clips" if row.get("synthetic") else "")]
    if "clip_shape" in row:
        parts.append("×".join(str(n) for n in row["clip_shape"][1:]) + " clips")
        parts.append(f"{row['train_clips']} train, {row['test_clips']} test")
    epochs = row.get("epochs_per_stage")
    parts.append(f"{row['profile']} profile" + (f", {epochs} epochs a stage" if epochs else ""))
    parts.append(row["dtype"])
    return ", ".join(parts)


def where_and_when(rows: Sequence[Row]) -> str:
    """The devices, three at most by name, and the day or days: for a figure's lower edge."""
    devices = list(dict.fromkeys(row["device"] for row in rows))
    more = f" and {len(devices) - 3} more" if len(devices) > 3 else ""
    return f"{', '.join(devices[:3])}{more}; {when(rows)}"


def provenance_notes(rows: Sequence[Row]) -> list[str]:
    """Marks and warnings that every table of these rows carries."""
    notes = sorted({note for row in rows for note in row.get("notes") or ()})
    shipped = [row for row in rows if row["shipped"]]
    if shipped:
        devices = ", ".join(sorted({row["device"] for row in shipped}))
        notes.append(f"† shipped with the repository: measured {when(shipped)} on {devices}")
    commits = sorted({row["commit"][:9] + ("+changes" if row["dirty"] else "") for row in rows})
    if len(commits) > 1:
        notes.append(f"rows of {len(commits)} versions of the code: {', '.join(commits)}")
    elif commits:
        notes.append(f"code {commits[0]}")
    bad = [row for row in rows if row["status"] != "ok"]
    notes += [
        f"{row['layer'] or row['model']} {row['mode']} seed {row['seed']}: {row['status']} "
        f"({row['reason']})"
        for row in bad
    ]
    return notes


def when(rows: Sequence[Row]) -> str:
    """The day on which the rows were measured, or the first and the last."""
    days = sorted(row["finished"][:10] for row in rows)
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
