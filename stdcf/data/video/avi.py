"""What an AVI file holds, chunk by chunk: its header counts empty chunks as frames."""

import struct
from dataclasses import dataclass
from pathlib import Path

# Two digits of the stream, then two letters; these are sound, text and palettes.
_NO_PICTURE = (b"wb", b"tx", b"pc", b"ix")


@dataclass(frozen=True)
class Chunks:
    """A stream's chunks that are whole.

    Attributes:
        count: of all of them.
        filled: of those that are not empty. FFmpeg and cameras fill gaps in time with empty ones.
        is_cut: the file ends, or stops making sense, before its chunks do.
    """

    count: int
    filled: int
    is_cut: bool


def video_chunks(path: Path, stream: int) -> Chunks:
    """The chunks of a video stream, of every RIFF in the file (OpenDML has several)."""
    file_bytes = path.stat().st_size
    prefix = b"%02d" % stream
    count = filled = position = promised = 0
    with path.open("rb") as file:
        while position + 8 <= file_bytes:
            file.seek(position)
            kind, size = struct.unpack("<4sI", file.read(8))
            if kind == b"RIFF":
                promised = max(promised, position + 8 + size)
                position += 12
                continue
            if position >= promised > 0:  # bytes after the last chunk
                break
            if kind == b"LIST" and file.read(4) in (b"movi", b"rec "):
                position += 12
                continue
            if not kind.isascii() or position + 8 + size > file_bytes:
                return Chunks(count, filled, True)
            if kind[:2] == prefix and kind[2:] not in _NO_PICTURE:
                count += 1
                filled += size > 0
            position += 8 + size + size % 2
    return Chunks(count, filled, promised > file_bytes)
