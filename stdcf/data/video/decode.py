"""Video files to small uint8 frames, by PyAV."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stdcf.data.video.container import BrokenVideo, check_frames, open_video, shortfall_of
from stdcf.data.video.orientation import Orientation, is_mirrored, show
from stdcf.data.video.resize import resize_area
from stdcf.data.video.room import ROOM
from stdcf.errors import UserError

__all__ = ["DECODER_VERSION", "BrokenVideo", "count_frames", "decode_versioned", "decode_video"]

# Part of each manifest: raise it when the same file would decode to other bytes.
DECODER_VERSION = 1
# Of the files that version 1 showed wrongly: mirrored, in full range, or of another stream.
CORRECTED_VERSION = 2

# Their first plane is the luma, one byte a pixel.
_LUMA_FIRST = frozenset(
    ["gray", "nv12", "nv21", "yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p", "yuvj411p"]
    + [f"yuv{sampling}p" for sampling in (410, 411, 420, 422, 440, 444)]
)
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
# Luma of 0 to 255 as that of 16 to 235, which nearly all video has.
_LIMITED = ((np.arange(256) * 219 + 127) // 255 + 16).astype(np.uint8)

_FRAMES_A_CHUNK = 32
_BYTES_A_CHUNK = 2**21


def decode_video(path: Path, size: tuple[int, int], channels: int = 1) -> np.ndarray:
    """All frames of a video's film in decoded order: uint8 [F, C, H, W].

    size: (height, width). channels: 1 for the luma, in video's range of 16 to 235 whatever range
    the file has, 3 for RGB. Frames are turned and mirrored as FFmpeg shows them. Memory is bounded
    by a few frames of the file's size. Raises UserError where the file is missing, truncated,
    damaged or no video.
    """
    return decode_versioned(path, size, channels)[0]


def decode_versioned(
    path: Path, size: tuple[int, int], channels: int = 1
) -> tuple[np.ndarray, int]:
    """`decode_video`, and which version of the decoder first gave these bytes."""
    pictures = _Pictures(path, channels)
    frames_FCHW = shrink(pictures, size)
    return frames_FCHW, CORRECTED_VERSION if pictures.is_corrected else DECODER_VERSION


def count_frames(path: Path) -> int:
    """Frames of a sound video, by decoding it; UserError as `decode_video`."""
    return sum(1 for _ in _Pictures(path, channels=1))


def shrink(pictures_CHW: "_Pictures | Iterator[np.ndarray]", size: tuple[int, int]) -> np.ndarray:
    """Pictures, each made small as it comes: uint8 [F, C, H, W]."""
    chunks: list[np.ndarray] = []
    pending: list[np.ndarray] = []
    for picture_CHW in pictures_CHW:
        room = min(_FRAMES_A_CHUNK, _BYTES_A_CHUNK // max(picture_CHW.size, 1))
        if pending and (len(pending) >= room or pending[0].shape != picture_CHW.shape):
            chunks.append(resize_area(np.stack(pending), size))
            pending = []
        if room < 2:
            chunks.append(resize_area(picture_CHW[None], size))
        else:
            pending.append(picture_CHW)
    if pending:
        chunks.append(resize_area(np.stack(pending), size))
    return np.concatenate(chunks)


class _Pictures:
    """The frames at their own size, [C, H, W], each to be used before the next is asked for.

    Attributes:
        is_corrected: some came otherwise from version 1 of the decoder.
    """

    def __init__(self, path: Path, channels: int) -> None:
        if channels not in (1, 3):
            raise UserError(
                f"channels={channels}: frames are decoded to 1 (gray) or 3 (RGB) channels."
            )
        self.path = path
        self.channels = channels
        self.is_corrected = False
        self.orientation = Orientation()

    def __iter__(self) -> Iterator[np.ndarray]:
        with open_video(self.path) as (container, stream):
            import av

            self.is_corrected = stream.index != container.streams.video[0].index
            context, packets, decoded = stream.codec_context, 0, 0
            with ROOM.taken(context.width * context.height):
                convert = rgb_converter()
                try:
                    for packet in container.demux(stream):
                        packets += packet.size > 0
                        for frame in packet.decode():
                            if frame.is_corrupt:
                                reason = shortfall_of(self.path) or f"frame {decoded} is damaged"
                                raise BrokenVideo(self.path, reason)
                            yield self._picture(frame, convert)
                            decoded += 1
                except av.FFmpegError as error:
                    reason = shortfall_of(self.path) or error.strerror or type(error).__name__
                    raise BrokenVideo(self.path, f"{reason}, after {decoded} frames") from error
            check_frames(self.path, container, stream, packets)
        if decoded == 0:
            raise BrokenVideo(self.path, "it holds no frame")

    def _picture(self, frame: Any, convert: Callable[..., Any]) -> np.ndarray:
        try:
            matrix = self.orientation(frame)
        except ValueError as error:
            raise BrokenVideo(self.path, str(error)) from error
        self.is_corrected |= is_mirrored(matrix)
        if self.channels == 3:
            return show(rgb_view(convert(frame)).transpose(2, 0, 1), matrix, 1)
        name = frame.format.name
        is_luma = name in _LUMA_FIRST
        # The stored plane: converting to "gray" would bring swscale's version into the bytes.
        luma = frame if is_luma else convert(frame, format="yuv444p")
        plane = luma.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        picture_HW = rows[:, : plane.width]
        # FFmpeg too takes gray that does not say its range for full.
        is_full = int(frame.color_range) == _FULL_RANGE or name.startswith("yuvj")
        if is_full or (name == "gray" and int(frame.color_range) == 0):
            self.is_corrected = True
            picture_HW = _LIMITED[picture_HW] if is_luma else picture_HW
        return show(picture_HW[None], matrix, 1)


def rgb_converter() -> Callable[..., Any]:
    """From a frame to one in RGB (or `format`) in video's range, in one thread.

    One for all frames of a video: each of its own would build its conversion tables again.
    """
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    # Later PyAVs convert in as many threads as there are cores unless told.
    text = VideoReformatter.reformat.__doc__ or ""
    threads = {"threads": 1} if "threads" in text else {}

    def convert(frame: Any, size: tuple[int, int] | None = None, format: str = "rgb24") -> Any:
        width, height = size or (frame.width, frame.height)
        options: dict[str, Any] = dict(threads)
        if format != "rgb24":
            options["dst_color_range"] = "MPEG"
        return reformatter.reformat(frame, width, height, format, **options)

    return convert


def rgb_view(frame: Any) -> np.ndarray:
    """An RGB frame's pixels, uint8 [H, W, 3], not copied."""
    plane = frame.planes[0]
    return np.ndarray(
        (frame.height, frame.width, 3), np.uint8, plane, strides=(plane.line_size, 3, 1)
    )
