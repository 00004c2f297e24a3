"""Every ended run's row in one file, index.parquet beside the runs: 10,000 are read at once.

The runs' folders stay the truth: a row is read again whenever its result.json is another file than
the one that was indexed (its inode, size or time of change), and forgotten when it is gone. The
index may be deleted at any time. Small stores have none, nor has a machine without pyarrow.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from stdcf.errors import UserError

INDEX_NAME = "index.parquet"
# Below, opening every result.json takes less time than importing pyarrow.
SMALLEST = 500

_FORMAT = "1"
# What every row must have to be found its place in a table.
_REQUIRED = ("status", "manifest", "finished")
# Columns for whoever opens the file with pandas; "row" holds the whole of it.
_TEXTS: tuple[str, ...] = (
    "suite",
    "setting",
    "dataset",
    "profile",
    "model",
    "layer",
    "mode",
    "status",
    "run_id",
)
_TEXTS += ("manifest", "finished", "commit", "device", "measured_by")
_NUMBERS = ("seed", "accuracy", "measured_peak_bytes", "predicted_peak_bytes", "train_seconds")


class Stamp(NamedTuple):
    """Which result.json was read; one that is replaced is another inode."""

    inode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Entry:
    """One ended run: its row as text, from the result.json with this stamp."""

    stamp: Stamp
    text: str


def read_rows(root: Path, suite: str | None = None) -> dict[str, dict[str, Any]]:
    """Path under `root` ("suite/setting/run") -> row of every ended run, sorted by path.

    Raises:
        UserError: naming a result.json that is none.
    """
    stamps = dict(_scan(root, suite))
    path = root / INDEX_NAME
    if len(stamps) < SMALLEST and not path.exists():
        return {name: _parse(root, name, text) for name, text in _read_missing(root, stamps, {})}
    known = _load(path)
    ours = {name: entry for name, entry in known.items() if _is_of(name, suite)}
    rows = {}
    fresh = {}
    for name, text in _read_missing(root, stamps, ours):
        rows[name] = _parse(root, name, text)
        if name not in ours or ours[name].stamp != stamps[name]:
            fresh[name] = Entry(stamps[name], text)
    if fresh or ours.keys() - rows.keys():
        kept = {n: e for n, e in known.items() if n in rows or not _is_of(n, suite)}
        _save(path, kept | fresh, rows)
    return rows


def _scan(root: Path, suite: str | None) -> Iterator[tuple[str, Stamp]]:
    """Every run with a row, sorted, with its stamp; one stat a run."""
    for suite_name in [suite] if suite is not None else _subfolders(root):
        for setting in _subfolders(root / suite_name):
            for run in _subfolders(root / suite_name / setting):
                try:
                    found = (root / suite_name / setting / run / "result.json").stat()
                except (FileNotFoundError, NotADirectoryError):
                    continue
                stamp = Stamp(found.st_ino, found.st_size, found.st_mtime_ns)
                yield f"{suite_name}/{setting}/{run}", stamp


def _subfolders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_of(name: str, suite: str | None) -> bool:
    return suite is None or name.startswith(f"{suite}/")


def _read_missing(
    root: Path, stamps: Mapping[str, Stamp], known: Mapping[str, Entry]
) -> Iterator[tuple[str, str]]:
    """Each run's row as text: from `known` where that is of the same file, else from its folder."""
    for name, stamp in stamps.items():
        entry = known.get(name)
        if entry is not None and entry.stamp == stamp:
            yield name, entry.text
            continue
        folder = root / name
        try:
            text = (folder / "result.json").read_text(encoding="utf-8")
        except FileNotFoundError:  # removed meanwhile
            continue
        if (folder / "spec.json").exists():
            yield name, text


def _parse(root: Path, name: str, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
        missing = [field for field in _REQUIRED if field not in row]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{root / name / 'result.json'} is no row ({error}); "
            "delete its folder, and suites.run does the run again"
        ) from error
    assert isinstance(row, dict)
    return row


def _load(path: Path) -> dict[str, Entry]:
    """What was indexed; nothing if the file is not there, damaged, or of another format."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return {}
    try:
        columns = ["path", "inode", "size", "mtime_ns", "row"]
        table = pq.read_table(io.BytesIO(path.read_bytes()), columns=columns)
    except (OSError, KeyError, pa.ArrowException):
        return {}
    if (table.schema.metadata or {}).get(b"format") != _FORMAT.encode():
        return {}
    names, *stamps, texts = (column.to_pylist() for column in table.columns)
    return {
        name: Entry(Stamp(*stamp), text)
        for name, *stamp, text in zip(names, *stamps, texts, strict=True)
    }


def _save(path: Path, entries: Mapping[str, Entry], parsed: Mapping[str, dict[str, Any]]) -> None:
    """Writes the index whole, or not at all where the folder cannot be written."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return
    from stdcf.whole_file import write_atomically

    names = sorted(entries, key=lambda name: name.split("/"))
    rows = [parsed.get(name) or json.loads(entries[name].text) for name in names]
    settings = [{"setting": name.split("/")[1]} for name in names]
    columns: dict[str, Any] = {"path": names}
    for field in _TEXTS:
        values = [(row | extra).get(field) for row, extra in zip(rows, settings, strict=True)]
        columns[field] = pa.array([v if isinstance(v, str) else None for v in values], pa.string())
    for field in _NUMBERS:
        values = [row.get(field) for row in rows]
        columns[field] = pa.array(
            [float(v) if isinstance(v, int | float) else None for v in values], pa.float64()
        )
    for position, field in enumerate(Stamp._fields):
        columns[field] = pa.array([entries[n].stamp[position] for n in names], pa.uint64())
    columns["row"] = [entries[name].text for name in names]
    table = pa.table(columns).replace_schema_metadata({"format": _FORMAT})
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    try:
        write_atomically(path, content.getvalue())
    except OSError:
        return
