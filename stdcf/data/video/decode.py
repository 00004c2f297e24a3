"""Video files to small uint8 frames, by PyAV."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stdcf.data.video.resize import resize_area
from stdcf.data.video.truncation import promised_bytes
from stdcf.errors import UserError

# Part of each cache entry's name: raise it when the same file would decode to other bytes.
DECODER_VERSION = 1

# Their first plane is the luma, one byte a pixel.
_LUMA_FIRST = frozenset(
    ["gray", "nv12", "nv21", "yuvj420p", "yuvj422p", "yuvj444p"]
    + [f"yuv{sampling}p" for sampling in (410, 411, 420, 422, 440, 444)]
)
_FRAMES_A_CHUNK = 32


class BrokenVideo(UserError):
    """A video that cannot be decoded.

    Attributes:
        reason: why, without the file's name.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"Cannot decode {path}: {reason}. Copy it again, or take it out.")
        self.reason = reason


def decode_video(path: Path, size: tuple[int, int], channels: int = 1) -> np.ndarray:
    """All frames of the first video stream in decoded order: uint8 [F, C, H, W].

    size: (height, width). channels: 1 for the luma as it is stored, 3 for RGB. Rotation metadata
    is applied. Raises UserError where the file is missing, truncated, damaged or no video.
    """
    chunks: list[np.ndarray] = []
    pending: list[np.ndarray] = []
    for picture_CHW in _pictures(path, channels):
        if pending and (len(pending) == _FRAMES_A_CHUNK or pending[0].shape != picture_CHW.shape):
            chunks.append(resize_area(np.stack(pending), size))
            pending = []
        pending.append(picture_CHW)
    if pending:
        chunks.append(resize_area(np.stack(pending), size))
    return np.concatenate(chunks)


def count_frames(path: Path) -> int:
    """Frames of a sound video, by decoding it; UserError as `decode_video`."""
    return sum(1 for _ in _pictures(path, channels=1))


def _pictures(path: Path, channels: int) -> Iterator[np.ndarray]:
    """The frames at their own size, [C, H, W]."""
    if channels not in (1, 3):
        raise UserError(f"channels={channels}: frames are decoded to 1 (gray) or 3 (RGB) channels.")
    try:
        import av
    except ModuleNotFoundError as error:
        raise UserError(f"Decoding {path} needs PyAV: pip install av.") from error
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    shortfall = shortfall_of(path)
    if shortfall and path.suffix.lower() != ".avi":
        raise BrokenVideo(path, shortfall)
    decoded = 0
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                raise BrokenVideo(path, "it holds no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise BrokenVideo(path, "nothing here decodes its codec")
            stream.codec_context.thread_count = 1
            packets = 0
            for packet in container.demux(stream):
                packets += packet.size > 0
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise BrokenVideo(path, shortfall or f"frame {decoded} is damaged")
                    yield _picture(frame, channels)
                    decoded += 1
            # Packets are counted, since one may hold no picture (HMDB51's last ones), and in AVI
            # alone: WebM's header says 0, and MP4's counts what an edit list cuts away.
            if container.format.name == "avi" and packets < stream.frames:
                raise BrokenVideo(
                    path, f"truncated, {packets} of the {stream.frames} frames its header states"
                )
    except av.FFmpegError as error:
        reason = shortfall or error.strerror or type(error).__name__
        raise BrokenVideo(path, f"{reason}, after {decoded} frames") from error
    if decoded == 0:
        raise BrokenVideo(path, "it holds no frame")


def _picture(frame: Any, channels: int) -> np.ndarray:
    if channels == 3:
        picture_CHW = frame.to_ndarray(format="rgb24").transpose(2, 0, 1)
    else:
        # The stored plane: converting to "gray" would bring swscale's version into the bytes.
        luma = frame if frame.format.name in _LUMA_FIRST else frame.reformat(format="yuv444p")
        plane = luma.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        picture_CHW = rows[None, :, : plane.width].copy()
    return np.rot90(picture_CHW, round(frame.rotation / 90) % 4, axes=(1, 2))


def shortfall_of(path: Path) -> str | None:
    file_bytes, promised = path.stat().st_size, promised_bytes(path)
    if promised is None or promised <= file_bytes:
        return None
    return f"truncated, {file_bytes} of the {promised} bytes its header states"
