"""What the page knows of every run, small: equal values once, curves in four digits, then gzip."""

import base64
import csv
import gzip
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from suites.engine.suite import Row

LOG_LINES = 50
# Numbers in all curves, and characters in all logs, that a page of 15 MB can hold.
MOST_POINTS = 1_500_000
MOST_LOG = 6_000_000

# What a curve is drawn over, or what says how fast it went.
_NO_CURVES = frozenset({"stage", "epoch", "step", "lr", "seconds", "clips_per_second"})
_MOST_CURVES = 4
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_SCALAR = (str, int, float, bool, type(None))


def pack(content: str | bytes) -> str:
    """gzip, then base64: what the page's own script unpacks."""
    data = content if isinstance(content, bytes) else content.encode()
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()


def runs_json(rows: Sequence[Row]) -> str:
    """One JSON object: "pool", the values; "rows" and "specs", field -> index of each run's value.

    Index -1 is no value. "curves" holds a text a run (`_curve`), "step" how many epochs lie between
    two of its points; "logs" is run -> its last lines, of failed runs alone.
    """
    pool = _Pool()
    specs = [_spec(row) for row in rows]
    shown = [{k: v for k, v in row.items() if k != "folder"} for row in rows]
    texts = [_read(row, "curves.csv") for row in rows]
    points = sum(text.count("\n") for text in texts) * 2
    step = max(1, math.ceil(points / MOST_POINTS))
    content = {
        "count": len(rows),
        "rows": pool.columns(shown),
        "specs": pool.columns(specs),
        "curves": [_curve(text, step) for text in texts],
        "step": step,
        "logs": _logs(rows),
    }
    body = json.dumps(content, separators=(",", ":"))
    return f'{{"pool":{pool.to_json()},{body[1:]}'


class _Pool:
    """Every value once, as JSON."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}
        self._texts: list[str] = []

    def columns(self, objects: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
        """Field -> place of each object's value in the pool."""
        fields = dict.fromkeys(field for one in objects for field in one)
        return {
            field: [self._place(one[field]) if field in one else -1 for one in objects]
            for field in fields
        }

    def _place(self, value: Any) -> int:
        if isinstance(value, float) and not math.isfinite(value):
            value = str(value)
        # 1, 1.0 and True are the same key of a dict.
        key = (type(value), value) if isinstance(value, _SCALAR) else _dumps(value)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self._texts)
            self._texts.append(key if isinstance(key, str) else _dumps(value))
        return place

    def to_json(self) -> str:
        """The list of values."""
        return "[" + ",".join(self._texts) + "]"


def _dumps(value: Any) -> str:
    try:
        return _ENCODER.encode(value)
    except ValueError:
        return _ENCODER.encode(_plain(value))


def _plain(value: Any) -> Any:
    """With NaN and infinities as words, for JSON has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _read(row: Row, name: str) -> str:
    try:
        return (Path(row["folder"]) / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _spec(row: Row) -> dict[str, Any]:
    try:
        found = json.loads(_read(row, "spec.json"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _curve(text: str, step: int) -> str:
    """Lines: the names, the stages as "t1:5 s1:10" (how many epochs), each curve's numbers."""
    if not text:
        return ""
    header, *lines = csv.reader(io.StringIO(text))
    names = [name for name in header if name not in _NO_CURVES][:_MOST_CURVES]
    lines = [line for line in lines if len(line) == len(header)]
    kept = lines[::-step][::-1]
    written = [_numbers(line[header.index(name)] for line in kept) for name in names]
    stages: dict[str, int] = {}
    if "stage" in header:
        for line in lines:
            stage = line[header.index("stage")]
            stages[stage] = stages.get(stage, 0) + 1
    named = " ".join(f"{name.replace(' ', '_')}:{n}" for name, n in stages.items())
    return "\n".join([",".join(names), named, *written]) if kept and names else ""


def _numbers(texts: Iterable[str]) -> str:
    found = []
    for text in texts:
        try:
            found.append(f"{float(text):.4g}")
        except ValueError:
            found.append("nan")
    return " ".join(found)


def _logs(rows: Sequence[Row]) -> dict[int, list[str]]:
    from suites.engine.store.folder import tail

    logs: dict[int, list[str]] = {}
    left = MOST_LOG
    for index, row in enumerate(rows):
        if row["status"] == "ok":
            continue
        lines = tail(Path(row["folder"]) / "log.txt", LOG_LINES)
        size = sum(map(len, lines))
        if lines and size <= left:
            left -= size
            logs[index] = lines
        elif lines:
            logs[index] = ["left out, for the page's size; see log.txt in the run's folder"]
    return logs
