"""Which code runs: a hash of the sources themselves, and a copy of them for jobs that wait.

A job starts hours after it was submitted, when the checkout may have moved on.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from suites.engine.store.provenance import SNAPSHOT_FILE, commit
from suites.paths import REPOSITORY

_PACKAGES = ("stdcf", "baselines", "suites", "slurm")
# A wheel's shipped rows are not code.
_NO_CODE = ("__pycache__", "shipped")


def code_version() -> str:
    """16 hex digits of the path and content of every file of the running code."""
    digest = hashlib.sha256()
    for path in _files():
        digest.update(f"{path.relative_to(REPOSITORY)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def snapshot(folder: Path) -> Path:
    """A copy of the running code, uncommitted changes and all, in a folder named by its version."""
    version = code_version()
    wanted = folder / version
    if wanted.is_dir():
        return wanted
    temporary = folder / f".{version}.{uuid.uuid4().hex}"
    for path in _files():
        copy = temporary / path.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    head, dirty = commit()
    (temporary / SNAPSHOT_FILE).write_text(json.dumps({"commit": head, "dirty": dirty}) + "\n")
    try:
        temporary.rename(wanted)
    except OSError:
        shutil.rmtree(temporary)
        if not wanted.is_dir():
            raise
    return wanted


def _files() -> Iterator[Path]:
    for package in _PACKAGES:
        for root, folders, files in os.walk(REPOSITORY / package):
            folders[:] = sorted(name for name in folders if name not in _NO_CODE)
            found = (Path(root) / name for name in sorted(files) if not name.endswith(".pyc"))
            yield from (path for path in found if path != REPOSITORY / SNAPSHOT_FILE)
