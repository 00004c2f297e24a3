"""Where data sets lie."""

import os
from pathlib import Path

from stdcf.errors import UserError


def default_root(name: str) -> Path:
    """Where a data set is looked for unless told: $STDCF_DATA/<name>, or data/<name>."""
    return Path(os.environ.get("STDCF_DATA") or "data").expanduser() / name


def data_root(name: str, root: str | Path | None, what: str) -> Path:
    """The folder of a data set; UserError where there is none. what: what it should hold."""
    folder = default_root(name) if root is None else Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"No folder {folder}: give the one that holds {what}.")
    return folder


# Options of data sets that are names of files.
FILE_OPTIONS = ("train", "test", "classes")


def named_from_root(file: str, name: str, root: str | Path | None) -> str:
    """A file's name from a data set's folder, for a name from there, from here, or a whole path.

    So that the same files make the same runs, wherever they lie.
    """
    folder = default_root(name) if root is None else Path(root).expanduser()
    path = Path(file).expanduser()
    if not path.is_file() or not (path.is_absolute() or not (folder / path).is_file()):
        return file
    return os.path.relpath(path.resolve(), folder.resolve())
