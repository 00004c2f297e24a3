"""Rows as a typed Arrow table, one column a field, from which they come back exactly.

A column has the type declared here or the type of most of its values: text, Int64, float64,
boolean, UTC time, or a list of texts or numbers. Objects, and lists of them, are JSON text.
`FIELDS` holds each row's fields in order and marks those that are null, so that null, NaN and
missing are told apart. `REST` holds the values that do not fit their columns, as JSON.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS, REST = "fields", "rest"

# These columns are in every table, whatever its rows are.
_DECLARED = {
    **dict.fromkeys(("suite", "dataset", "profile", "model", "layer", "mode"), "text"),
    "seed": "int",
    **dict.fromkeys(("status", "reason"), "text"),
    **dict.fromkeys(("accuracy", "video_accuracy", "video_top5"), "float"),
    **dict.fromkeys(("measured_peak_bytes", "measured_reserved_bytes"), "int"),
    **dict.fromkeys(("predicted_peak_bytes", "cap_bytes", "epochs_override"), "int"),
    **dict.fromkeys(("train_seconds", "wall_seconds"), "float"),
    "finished": "time",
}
_SCALARS = {str: "text", int: "int", float: "float", bool: "bool"}
_LISTS = {"text": "texts", "int": "ints", "float": "floats"}
_HOLD_EMPTY_LISTS = frozenset({*_LISTS.values(), "json"})
# Without this pandas would turn a column of integers or booleans with a null into another type.
_PANDAS = {"int": "Int64", "bool": "boolean"}
# A row of a stranger may have any number of fields.
_MOST_COLUMNS = 1000
_LARGEST_EXACT = 2**53


def to_table(rows: Sequence[Mapping[str, Any]], reserved: Collection[str] = ()) -> "pa.Table":
    """The rows' table; fields with a reserved name get no column, they are in `REST`."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    kinds: dict[str, str] = {}
    # Of each row: field -> where its value is.
    shapes = [dict.fromkeys(row, "") for row in rows]
    for field in dict.fromkeys(chain(_DECLARED, *rows)):
        values = [row.get(field) for row in rows]
        own_kinds = _kinds(field, values)
        has_column = len(columns) < _MOST_COLUMNS and field not in {*reserved, FIELDS, REST}
        kind = _column_kind(field, own_kinds) if has_column and _is_text(field) else "none"
        for place, own in enumerate(own_kinds):
            if own != kind and field in shapes[place]:
                shapes[place][field] = holder = _holder(kind, own, values[place])
                if holder == "rest":
                    values[place] = None
        if kind != "none":
            columns[field], kinds[field] = _array(kind, values), kind
    as_text = cache(lambda *shape: json.dumps(dict(shape)))
    rest = [
        {field: row[field] for field, holder in shape.items() if holder == "rest"}
        for row, shape in zip(rows, shapes, strict=True)
    ]
    columns[FIELDS] = pa.array([as_text(*shape.items()) for shape in shapes], pa.string())
    columns[REST] = pa.array([json.dumps(r) if r else None for r in rest], pa.string())
    schema = [
        pa.field(name, array.type, metadata={"kind": kinds.get(name, "text")})
        for name, array in columns.items()
    ]
    return pa.table(columns, pa.schema(schema, {"pandas": _pandas_metadata(kinds)}))


def to_rows(table: "pa.Table") -> list[dict[str, Any]]:
    """The rows of `to_table`, each with its fields in the order that they had."""
    places_of_shape: dict[str, list[int]] = {}
    for place, shape in enumerate(table[FIELDS].to_pylist()):
        places_of_shape.setdefault(shape, []).append(place)
    rest = [json.loads(text) if text else {} for text in table[REST].to_pylist()]
    values: dict[str, list[Any]] = {}
    for field in table.schema:
        values[field.name] = _values(field.metadata[b"kind"].decode(), table[field.name])
    rows: list[dict[str, Any]] = [{}] * len(table)
    for shape, places in places_of_shape.items():
        fields = json.loads(shape)
        columns: list[list[Any]] = []
        for field, holder in fields.items():
            if holder == "null":
                columns.append([None] * len(places))
            elif holder == "rest":
                columns.append([rest[place][field] for place in places])
            else:
                own = [values[field][place] for place in places]
                columns.append(list(map(int, own)) if holder == "int" else own)
        for place, *row in zip(places, *columns, strict=True):
            rows[place] = dict(zip(fields, row, strict=True))
    return rows


def _kinds(field: str, values: Sequence[Any]) -> list[str]:
    """Each value's `_kind`; quickly where all are of one simple type."""
    types = {type(value) for value in values if value is not None}
    is_ascii = types == {str} and all(map(str.isascii, filter(None, values)))
    is_small = types == {int} and max(map(abs, filter(None, values)), default=0) < 2**63
    if types <= {float, bool} or is_small or (is_ascii and _DECLARED.get(field) != "time"):
        return ["null" if value is None else _SCALARS[type(value)] for value in values]
    return [_kind(field, value) for value in values]


def _kind(field: str, value: Any) -> str:
    """The kind of column that holds the value exactly, "null", "empty" or, of none, "other"."""
    if value is None:
        return "null"
    kind = _SCALARS.get(type(value), "json")
    if kind == "text":
        if _DECLARED.get(field) == "time" and _is_time(value):
            return "time"
        return "text" if _is_text(value) else "other"
    if kind == "int":
        return "int" if -(2**63) <= value < 2**63 else "other"
    if isinstance(value, list):
        if not value:
            return "empty"
        (item, *more) = {_kind("", item) if type(item) in _SCALARS else "json" for item in value}
        return "json" if more else _LISTS.get(item, "json")
    return kind


def _is_text(value: str) -> bool:
    """Half of a surrogate pair is a character to JSON and none to UTF-8."""
    return value.isascii() or value == value.encode(errors="ignore").decode()


def _is_time(value: str) -> bool:
    try:
        return f"{datetime.fromisoformat(value[:-1]).isoformat()}Z" == value
    except ValueError:
        return False


def _column_kind(field: str, own_kinds: Sequence[str]) -> str:
    if field in _DECLARED:
        return _DECLARED[field]
    counts = Counter(own_kinds)
    del counts["null"], counts["other"]
    if counts["float"]:
        counts["float"] += counts.pop("int", 0)
    empty = counts.pop("empty", 0)
    if not counts.total():
        return "texts" if empty else "text"
    return max(counts, key=lambda kind: counts[kind])


def _holder(kind: str, own: str, value: Any) -> str:
    """Where a row has a value of another kind than its column; "" is in the column all the same."""
    if own == "null":
        return "null"
    if own == "empty" and kind in _HOLD_EMPTY_LISTS:
        return ""
    if own == "int" and kind == "float" and abs(value) <= _LARGEST_EXACT:
        return "int"
    return "rest"


def _array(kind: str, values: list[Any]) -> "pa.Array":
    import pyarrow as pa

    if kind == "time":
        values = [None if v is None else datetime.fromisoformat(v[:-1]) for v in values]
    elif kind == "json":
        values = [None if v is None else json.dumps(v) for v in values]
    types = {
        "text": pa.string(),
        "json": pa.string(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "time": pa.timestamp("ms", "UTC"),
        "texts": pa.list_(pa.string()),
        "ints": pa.list_(pa.int64()),
        "floats": pa.list_(pa.float64()),
    }
    return pa.array(values, types[kind])


def _values(kind: str, column: "pa.ChunkedArray") -> list[Any]:
    """The column's values; where it has none, anything."""
    import pyarrow as pa

    if kind in ("int", "float", "bool"):
        # Much faster than to_pylist.
        found: list[Any] = column.fill_null(pa.scalar(0).cast(column.type)).to_numpy().tolist()
        return found
    if kind == "time":
        times = column.cast(pa.timestamp("s")).to_pylist()
        return [None if time is None else f"{time.isoformat()}Z" for time in times]
    if kind == "json":
        return [None if text is None else json.loads(text) for text in column.to_pylist()]
    return list(column.to_pylist())


def _pandas_metadata(kinds: Mapping[str, str]) -> str:
    columns = [
        {"name": name, "field_name": name, "numpy_type": _PANDAS[kind], "metadata": None}
        | {"pandas_type": kind}
        for name, kind in kinds.items()
        if kind in _PANDAS
    ]
    return json.dumps({"index_columns": [], "column_indexes": [], "columns": columns})
