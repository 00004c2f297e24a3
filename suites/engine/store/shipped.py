"""The runs that are shipped: a folder of the checkout, or an archive in an installed wheel."""

import hashlib
import shutil
import uuid
from pathlib import Path

from stdcf.cache_folder import cache_folder
from suites import paths
from suites.engine.store.archive import read_archive


def shipped_runs() -> Path:
    """The folder of the shipped runs; a wheel's archive is unpacked into the cache once."""
    archive = paths.SHIPPED.with_suffix(".tar.gz")
    if not archive.is_file():
        return paths.SHIPPED
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    folder = cache_folder() / f"shipped-{digest}"
    if not folder.is_dir():
        _unpack(archive, folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        for name, files in read_archive(archive):
            (temporary / name).mkdir(parents=True)
            for file, content in files.items():
                (temporary / name / file).write_bytes(content)
        temporary.rename(folder)
    except OSError:
        # Another process may have been faster.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
