"""How long a container says that its file is."""

import struct
from pathlib import Path
from typing import BinaryIO

# The top-level boxes of MP4 and QuickTime; what is none of them is not a box, whatever it spells.
_BOXES = frozenset(
    kind.encode()
    for kind in [
        "ftyp",
        "moov",
        "mdat",
        "moof",
        "mfra",
        "free",
        "skip",
        "wide",
        "uuid",
        "udta",
        "meta",
        "meco",
        "sidx",
        "ssix",
        "styp",
        "prft",
        "emsg",
        "pdin",
        "pnot",
        "PICT",
        "cmov",
        "imda",
        "junk",
    ]
)
_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_EBML_SEGMENT = b"\x18\x53\x80\x67"


def promised_bytes(path: Path) -> int | None:
    """The file size that MP4's boxes, WebM's segment or AVI's RIFF chunks add up to, or None.

    None where the container does not say (a recording that was not finished).
    """
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _boxes_end(file, file_bytes)
        if head[:4] == b"RIFF":
            return _riff_end(file, file_bytes)
        if head[:4] == _EBML_MAGIC:
            return _segment_end(file)
    return None


def _boxes_end(file: BinaryIO, file_bytes: int) -> int | None:
    """End of the last top-level box (ISO/IEC 14496-12, §4.2); what follows it is not a box."""
    position = 0
    while position + 8 <= file_bytes:
        file.seek(position)
        size, kind = struct.unpack(">I4s", file.read(8))
        if kind not in _BOXES and (size < 8 or position + size > file_bytes):
            return position
        if size == 1 and position + 16 <= file_bytes:
            (size,) = struct.unpack(">Q", file.read(8))
        if size == 0:  # up to the end of the file, wherever that is
            return None
        if size < 8:
            return position
        position += size
    return position


def _riff_end(file: BinaryIO, file_bytes: int) -> int | None:
    """End of the last top-level RIFF chunk; AVIs above 1 GiB have several (OpenDML)."""
    position = 0
    while position + 8 <= file_bytes:
        file.seek(position)
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or size == 0:
            break
        position += 8 + size
    return position or None


def _segment_end(file: BinaryIO) -> int | None:
    """End of the first segment (RFC 9559, §5); None where its size is unknown."""
    file.seek(4)
    header_bytes = _vint(file)
    if header_bytes is None:
        return None
    file.seek(header_bytes, 1)
    if file.read(4) != _EBML_SEGMENT:
        return None
    segment_bytes = _vint(file)
    return None if segment_bytes is None else file.tell() + segment_bytes


def _vint(file: BinaryIO) -> int | None:
    """A variable-length integer (RFC 8794, §4); None where all its bits are set: unknown."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    length = 9 - first[0].bit_length()
    raw = first + file.read(length - 1)
    value = int.from_bytes(raw, "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value
