"""Whether runs were trained until their accuracy rested, by docs/protocol.md's criterion."""

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from suites.engine.suite import Row

POINTS = 1.0


def note(rows: Sequence[Row]) -> str:
    """For how many of the runs that kept their curves every stage had settled; "" of none."""
    found = [one for one in map(has_settled, rows) if one is not None]
    if not found:
        return ""
    return (
        f"trained until done: in {sum(found)} of {len(found)} runs the mean training accuracy of "
        f"every stage's last tenth of epochs is within {POINTS:g} point of the tenth before"
    )


def has_settled(row: Row) -> bool | None:
    """Whether the training accuracy rested at the end of every stage; None without curves."""
    try:
        with (Path(row["folder"]) / "curves.csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        stages: dict[str, list[float]] = {}
        for line in lines:
            stages.setdefault(line["stage"], []).append(100 * float(line["train_accuracy"]))
    except (KeyError, OSError, TypeError, ValueError):
        return None
    if not stages:
        return None
    return all(_rests(accuracies) for accuracies in stages.values())


def _rests(accuracies: Sequence[float]) -> bool:
    tenth = max(len(accuracies) // 10, 1)
    last, before = accuracies[-tenth:], accuracies[-2 * tenth : -tenth]
    return bool(before) and abs(fmean(last) - fmean(before)) < POINTS
