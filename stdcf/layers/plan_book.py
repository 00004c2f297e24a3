"""The book of plans: what was measured on this machine, or was copied from one of its kind."""

import functools
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stdcf.cache_folder import cache_folder
from stdcf.errors import UserError

_FORMAT = "stdcf plans 1"

# Name of a situation -> "seconds" of each plan, with the torch version and the day.
Entries = Mapping[str, Mapping[str, Any]]


def book_file() -> Path:
    """Where measurements are kept: $STDCF_PLANS, else plans.json in the cache folder."""
    own = os.environ.get("STDCF_PLANS")
    return Path(own).expanduser() if own else cache_folder() / "plans.json"


def changed_ns(path: Path) -> int | None:
    """When a book was last written; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


@functools.lru_cache(maxsize=8)
def read(path: Path, changed_ns: int | None) -> Entries:
    """A book as it was at a time; nothing where there was none.

    Raises:
        UserError: if the file is not a book.
    """
    if changed_ns is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r}")
        entries: Entries = content["measured"]
        return entries
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a book of plans ({error}); delete it, or set STDCF_PLANS to another"
        ) from error


def has(part: str) -> bool:
    """Whether the name of any measured situation holds `part`."""
    path = book_file()
    return _has(path, changed_ns(path), part)


@functools.lru_cache(maxsize=64)
def _has(path: Path, changed_ns: int | None, part: str) -> bool:
    return any(part in situation for situation in read(path, changed_ns))


def add(situation: str, seconds: Mapping[str, float]) -> None:
    """Writes what was measured of a situation into the book, in the place of what stood there."""
    path = book_file()
    entry = {
        "seconds": dict(seconds),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    _write(path, {**read(path, changed_ns(path)), situation: entry})


def copy_book(path: Path) -> None:
    """Copies the book to `path` unless there is one.

    A run that reads its own copy (through $STDCF_PLANS) chooses the same plans when it goes on,
    whatever is measured meanwhile.
    """
    if not path.exists():
        own = book_file()
        _write(path, read(own, changed_ns(own)))


def _write(path: Path, entries: Entries) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps({"format": _FORMAT, "measured": entries}, indent=1) + "\n")
    temporary.replace(path)
