"""Every ended run's row in one file, index.parquet beside the runs: 10,000 are read at once.

The file is a table for `pandas.read_parquet` too: a column a field (see `columns`), and "path" and
"setting" of the run. The runs' folders stay the truth: a row is read again whenever its result.json
is another file than the one that was indexed (its inode, size or time of change), and forgotten
when it is gone. The index may be deleted at any time. Small stores have none, nor has a machine
without pyarrow.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stdcf.errors import UserError
from stdcf.whole_file import write_atomically
from suites.engine.store.columns import to_rows, to_table

INDEX_NAME = "index.parquet"
# Below, opening every result.json takes less time than importing pyarrow.
SMALLEST = 500

_FORMAT = b"2"
# Without these a row has no place in a table.
_REQUIRED = ("status", "manifest", "finished")

Row = dict[str, Any]


class Stamp(NamedTuple):
    """Which result.json was read; one that is replaced is another inode."""

    inode: int
    size: int
    mtime_ns: int


# Stamp, and row, of the ended run with this path.
Indexed = dict[str, tuple[Stamp, Row]]
_STAMP_COLUMNS = ("result_inode", "result_size_bytes", "result_mtime_ns")


def read_rows(root: Path, suite: str | None = None) -> dict[str, Row]:
    """Path under `root` ("suite/setting/run") -> row of every ended run, sorted by path.

    Raises:
        UserError: naming a result.json that is not a row.
    """
    stamps = dict(_scan(root, suite))
    file = root / INDEX_NAME
    has_index = len(stamps) >= SMALLEST or file.exists()
    indexed = _load(file, suite) if has_index else {}
    current: Indexed = {}
    for name, stamp in stamps.items():
        known = indexed.get(name)
        row = known[1] if known and known[0] == stamp else _read(root / name)
        if row is not None:
            current[name] = (stamp, row)
    if has_index and current != indexed:
        others = {} if suite is None else _load(file)
        others = {name: run for name, run in others.items() if not name.startswith(f"{suite}/")}
        _save(file, others | current)
    return {name: row for name, (_, row) in current.items()}


def _scan(root: Path, suite: str | None) -> Iterator[tuple[str, Stamp]]:
    """Every run with a row, sorted, with its stamp; one stat a run."""
    for suite_name in [suite] if suite is not None else _subfolders(root):
        for setting in _subfolders(root / suite_name):
            for run in _subfolders(root / suite_name / setting):
                name = f"{suite_name}/{setting}/{run}"
                try:
                    # There may be 10,000 of them: no Path for each.
                    found = os.stat(f"{root}/{name}/result.json")  # noqa: PTH116
                except (FileNotFoundError, NotADirectoryError):
                    continue
                yield name, Stamp(found.st_ino, found.st_size, found.st_mtime_ns)


def _subfolders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(folder: Path) -> Row | None:
    """The row in a run's folder; None if it was removed meanwhile, or has no spec."""
    file = folder / "result.json"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    if not (folder / "spec.json").exists():
        return None
    try:
        row: Row = json.loads(text)
        missing = [field for field in _REQUIRED if field not in row]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{file} is not a row ({error}); delete its folder, and suites.run does the run again"
        ) from error
    assert isinstance(row, dict)
    return row


def _load(file: Path, suite: str | None = None) -> Indexed:
    """What was indexed; nothing if the file is not there, damaged, or of another format."""
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ImportError:
        return {}
    try:
        table = pq.ParquetFile(io.BytesIO(file.read_bytes())).read()
    except (OSError, pa.ArrowException):
        return {}
    if (table.schema.metadata or {}).get(b"format") != _FORMAT:
        return {}
    if suite is not None:
        table = table.filter(pc.starts_with(table["path"], f"{suite}/"))
    names, *stamps = (table[name].to_pylist() for name in ("path", *_STAMP_COLUMNS))
    rows = to_rows(table.drop_columns(["path", "setting", *_STAMP_COLUMNS]))
    return dict(zip(names, zip(map(Stamp, *stamps), rows, strict=True), strict=True))


def _save(file: Path, runs: Mapping[str, tuple[Stamp, Row]]) -> None:
    """Writes the index whole, or not at all where the folder cannot be written."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return
    names = sorted(runs, key=lambda name: name.split("/"))
    own = {"path": names, "setting": [name.split("/")[1] for name in names]}
    table = to_table([runs[name][1] for name in names], reserved=(*own, *_STAMP_COLUMNS))
    table = table.replace_schema_metadata((table.schema.metadata or {}) | {b"format": _FORMAT})
    for place, (column, texts) in enumerate(own.items()):
        table = table.add_column(place, column, pa.array(texts, pa.string()))
    for place, column in enumerate(_STAMP_COLUMNS):
        numbers = pa.array([runs[name][0][place] for name in names], pa.uint64())
        table = table.append_column(column, numbers)
    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    try:
        write_atomically(file, content.getvalue())
    except OSError:
        return
