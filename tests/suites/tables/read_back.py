"""Tables from what suites.report wrote."""

import csv
import io
import json
from itertools import groupby
from typing import Any

from suites.tables.table import Table


def from_csv(text: str) -> list[Table]:
    """The tables of `to_csv`; one without rows and notes has lost its title."""
    lines = csv.reader(io.StringIO(text))
    blocks = [list(block) for filled, block in groupby(lines, key=bool) if filled]
    tables: list[Table] = []
    for header, *rows in blocks:
        title = rows[0][0] if rows else ""
        body = [row[1:] for row in rows]
        last = tables[-1] if tables else None
        if header == ["table", "note"] and last and (title == last.title or not last.rows):
            tables[-1] = Table(title, last.columns, last.rows, [row[0] for row in body])
        else:
            tables.append(Table(title, header[1:], body))
    return tables


def from_json(text: str) -> list[Table]:
    """The tables of `to_json`."""
    found: list[dict[str, Any]] = json.loads(text)
    return [
        Table(
            table["title"],
            table["columns"],
            [[row[column] for column in table["columns"]] for row in table["rows"]],
            table["notes"],
        )
        for table in found
    ]
