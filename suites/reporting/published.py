"""The paper's numbers, from results/published."""

import csv
from functools import cache

from suites.paths import PUBLISHED


@cache
def published(name: str) -> list[dict[str, str]]:
    """The rows of one published table as text; an empty cell was not published."""
    with (PUBLISHED / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(row: dict[str, str] | None, column: str) -> float | None:
    """One published number, or None."""
    return float(row[column]) if row and row.get(column) else None
