"""What tables and figures say of their rows: the data, the machine, the day, what went wrong."""

from collections.abc import Sequence

from suites.engine.suite import Row

# With less of a set its title says so: incomplete copies are a usual reason of other accuracies.
WHOLE = 0.95
_COUNTED = ("listed", "found", "broken", "used")


def describe(rows: Sequence[Row]) -> str:
    """What the rows were measured on, for a title."""
    if not rows:
        return "no runs yet"
    row = next((row for row in rows if row["status"] == "ok"), rows[0])
    parts = [row["dataset"] + (" — SYNTHETIC clips" if row.get("synthetic") else "")]
    share = least_share(rows)
    if share < WHOLE:
        parts.append(f"{100 * share:.0f}% OF THE LISTED VIDEOS")
    if "clip_shape" in row:
        parts.append("×".join(str(n) for n in row["clip_shape"][1:]) + " clips")
        # Folds have different numbers of clips.
        numbers = (f"{_range(rows, f'{part}_clips')} {part}" for part in ("train", "test"))
        parts.append(", ".join(numbers))
    epochs = row.get("epochs_per_stage")
    parts.append(f"{row['profile']} profile" + (f", {epochs} epochs a stage" if epochs else ""))
    parts.append(row["dtype"])
    return ", ".join(parts)


def _range(rows: Sequence[Row], column: str) -> str:
    known = [row[column] for row in rows if row["status"] == "ok" and column in row]
    known = known or [row[column] for row in rows if column in row]
    low, high = min(known), max(known)
    return str(low) if low == high else f"{low} to {high}"


def where_and_when(rows: Sequence[Row]) -> str:
    """The devices, three at most by name, and the day or days: for a figure's lower edge."""
    devices = list(dict.fromkeys(row["device"] for row in rows))
    more = f" and {len(devices) - 3} more" if len(devices) > 3 else ""
    return f"{', '.join(devices[:3])}{more}; {when(rows)}"


def provenance_notes(rows: Sequence[Row]) -> list[str]:
    """Marks and warnings that every table of these rows carries."""
    notes = sorted({note for row in rows for note in row.get("notes") or ()})
    notes += video_notes(rows)
    shipped = [row for row in rows if row["shipped"]]
    if shipped:
        devices = ", ".join(sorted({row["device"] for row in shipped}))
        notes.append(f"† shipped with the repository: measured {when(shipped)} on {devices}")
    notes += _read_off(rows)
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


def least_share(rows: Sequence[Row]) -> float:
    """Of the videos that a set lists, the part that was used, in the run with the least."""
    shares = []
    for row in rows:
        parts = _counts(row).values()
        listed = sum(part["listed"] for part in parts)
        shares += [sum(part["used"] for part in parts) / listed] if listed else []
    return min(shares, default=1.0)


def _counts(row: Row) -> dict[str, dict[str, int]]:
    """Part -> listed, found, broken and used; empty where a row does not have them all."""
    given = row.get("videos")
    parts = given if isinstance(given, dict) else {}
    is_whole = all(
        isinstance(part, dict) and all(isinstance(part.get(what), int) for what in _COUNTED)
        for part in parts.values()
    )
    return {str(p): {w: c[w] for w in _COUNTED} for p, c in parts.items()} if is_whole else {}


def video_notes(rows: Sequence[Row]) -> list[str]:
    """How many videos were listed, found, broken and used; one line, of the first split."""
    counts = [found for row in rows if (found := _counts(row))]
    distinct = [c for place, c in enumerate(counts) if c not in counts[:place]]
    if not distinct:
        return []
    words = "; ".join(
        f"{part} {', '.join(f'{number} {what}' for what, number in of_part.items())}"
        for part, of_part in distinct[0].items()
    )
    more = f" (of {len(distinct)} splits the first)" if len(distinct) > 1 else ""
    return [f"videos{more}: {words}"]


def _read_off(rows: Sequence[Row]) -> list[str]:
    """How many rows are no trainings of their own, and why."""
    capped = sum("cap_decided_by" in row for row in rows)
    shorter = sum("read_off" in row for row in rows) - capped
    found = []
    if shorter:
        found.append(f"{shorter} rows are read off runs whose schedules begin as theirs (read_off)")
    if capped:
        found.append(
            f"{capped} rows under a cap are the uncapped runs', as real steps under the cap gave "
            "the same results (cap_decided_by)"
        )
    return found


def when(rows: Sequence[Row]) -> str:
    """The day on which the rows were measured, or the first and the last."""
    days = sorted(row["finished"][:10] for row in rows)
    return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
