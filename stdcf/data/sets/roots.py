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
