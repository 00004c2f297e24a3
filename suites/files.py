"""Files that are written whole or not at all."""

from pathlib import Path

from stdcf.whole_file import whole_file


def write_atomically(path: Path, content: str | bytes) -> None:
    """A reader sees the old file or the new one, after a power cut too (see `whole_file`)."""
    with whole_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())
