"""Rows as a typed table: what pandas makes of it, and that they come back as they were."""

import io
import json
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suites import paths
from suites.engine.store.columns import REST, to_rows, to_table
from suites.engine.store.index import read_rows


def through_a_file(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The rows, and what pandas reads, from a parquet file."""
    file = io.BytesIO()
    pq.write_table(to_table(rows), file)
    file.seek(0)
    back = to_rows(pq.read_table(file))
    file.seek(0)
    return back, pd.read_parquet(file)


def text(rows: list[dict[str, Any]]) -> str:
    """Tells NaN, null and missing apart, 1 from 1.0 and True, and one order of fields from another.

    Equal numbers of JSON have equal texts: Python writes the shortest that reads back the same.
    """
    return json.dumps(rows)


def test_shipped_rows_come_back_and_have_a_type_a_column() -> None:
    rows = list(read_rows(paths.SHIPPED).values())
    back, frame = through_a_file(rows)
    assert text(back) == text(rows)
    assert len(frame) == len(rows) >= 379
    assert frame[REST].isna().all()
    types = frame.dtypes.astype(str)
    assert dict(types[["seed", "measured_peak_bytes", "params"]]) == {
        "seed": "Int64",
        "measured_peak_bytes": "Int64",
        "params": "Int64",
    }
    assert set(types[["accuracy", "wall_seconds", "psnr_db"]]) == {"float64"}
    assert types["dirty"] == types["synthetic"] == "boolean"
    assert types["finished"] == "datetime64[ms, UTC]"
    assert pd.api.types.is_string_dtype(frame["layer"])
    # By the files themselves.
    accuracies = [row["accuracy"] for row in rows if row.get("accuracy") is not None]
    assert frame["accuracy"].sum() == pytest.approx(sum(accuracies))
    assert frame["accuracy"].count() == len(accuracies)
    assert list(frame["finished"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")) == [
        row["finished"] for row in rows
    ]
    assert list(map(json.loads, frame["versions"])) == [row["versions"] for row in rows]


NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats()
# Half a surrogate pair is text to JSON, and none to UTF-8.
TEXTS = st.text(st.characters()) | st.text(st.sampled_from("a\ud800\x00é"))
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["accuracy", "seed", "finished", "suite", "notes", "x", "fields", "rest", "path", "a.b", ""]
)
ROWS = st.lists(st.dictionaries(NAMES | TEXTS, VALUES, max_size=6), max_size=6)


@given(ROWS)
@example([{"accuracy": None}, {"accuracy": float("nan")}, {}, {"accuracy": 1}, {"accuracy": 1.0}])
@example([{"x": 2**53 + 1}, {"x": 0.5}, {"x": -0.0}, {"x": 2**63}, {"x": True}])
@example([{"finished": "2026-11-27T07:59:26Z"}, {"finished": "2026-11-27"}, {"finished": "Z"}])
@example([{"finished": "2026-11-27T07:59:26.5Z"}, {"finished": "0001-01-01T00:00:00Z"}])
@example([{"notes": []}, {"notes": ["a"]}, {"notes": [1]}, {"notes": [None]}, {"notes": [[]]}])
@example([{"b": 1, "a": 2}, {"a": 2, "b": 1}])
@example([{f"field{n}": n for n in range(1500)}])
def test_any_rows_come_back(rows: list[dict[str, Any]]) -> None:
    rows = json.loads(json.dumps(rows))
    back, frame = through_a_file(rows)
    assert text(back) == text(rows)
    assert len(frame) == len(rows)
    assert len(frame.columns) <= 1002


def test_most_values_of_a_field_give_its_column_its_type() -> None:
    _, frame = through_a_file([{"x": 1}, {"x": 2}, {"x": "odd"}, {"x": None}, {}])
    assert frame["x"].dtype == "Int64"
    assert list(frame["x"].fillna(-1)) == [1, 2, -1, -1, -1]
    assert json.loads(frame[REST][2]) == {"x": "odd"}
