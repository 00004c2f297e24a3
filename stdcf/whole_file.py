"""Files that are written whole or not at all, whenever the process or the power goes."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from stdcf.errors import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write and to read back, which takes the place of `path` at the end of the block.

    A reader sees the old file or the new one. When the block is left, the new one is on the disk,
    and so is its name: a power cut after that takes neither away. If anything is raised, the old
    file stays as it was.

    Raises:
        OSError: if it cannot be written.
    """
    # Several processes, and threads of one, may write the same file.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # Of a write that fails the system does not say where it was to go.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()
    _sync_folder(path.parent)


def write_atomically(path: Path, content: str | bytes) -> None:
    """A reader sees the old file or the new one, after a power cut too (see `whole_file`)."""
    with whole_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def check_replaceable(path: Path, start: str, option: str) -> None:
    """A command writes over what it once wrote, and over nothing else.

    Args:
        start: how such a file starts, in any case.

    Raises:
        UserError: for a file that starts otherwise.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        found = file.read(len(start.encode()) + 1).decode(errors="replace").lstrip()
    if not found.casefold().startswith(start.casefold()):
        raise UserError(
            f"{path} is there and is not what {option} writes; give another file, or move it away"
        )


def _sync_folder(folder: Path) -> None:
    """So that a rename outlives a power cut."""
    # Some network file systems do not know it, and then do it by themselves.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
