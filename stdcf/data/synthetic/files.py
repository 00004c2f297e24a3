"""Writes videos and their 00sequences.txt as KTH's release has them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stdcf.data.synthetic.motion import Array
from stdcf.errors import UserError

QUALITY = 3 * 118  # the encoder's quantiser 3, in its own units: fine enough for 1-pixel limbs


def write_avi(path: Path, frames_THW: Array, fps: int) -> None:
    """uint8 gray frames as MPEG-4 in AVI; the same frames give the same bytes."""
    try:
        import av
        from av.codec.context import Flags
    except ImportError as error:
        raise UserError("Writing videos needs PyAV: pip install av") from error
    _, height, width = frames_THW.shape
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.bitexact | Flags.qscale
        stream.codec_context.options = {"global_quality": str(QUALITY)}
        for number, frame_HW in enumerate(frames_THW):
            frame = av.VideoFrame(width, height, "yuv420p")
            frame.pts = number
            luma, *chroma = frame.planes
            # Video levels (16 to 235) straight into the plane, so that no scaler has a say.
            padded = np.full((height, luma.line_size), 16, np.uint8)
            padded[:, :width] = np.round(16 + frame_HW.astype(np.float32) * (219 / 255))
            luma.update(padded.tobytes())
            for plane in chroma:
                plane.update(bytes([128]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_sequences(path: Path, videos: Sequence[str], ranges: Sequence[tuple[int, int]]) -> None:
    """00sequences.txt as KTH writes it: CRLF, frames counted from 1, both ends included.

    videos: names such as person01_boxing_d1. ranges: half-open and from 0, the same in all videos.
    """
    listed = ", ".join(f"{low + 1}-{high}" for low, high in ranges)
    lines = [
        "",
        "Synthetic figures performing the six actions of KTH, in KTH's layout.",
        "Generated, not filmed: results on them say nothing about real video.",
        "",
        "Training:   person11, 12, 13, 14, 15, 16, 17, 18",
        "Validation: person19, 20, 21, 23, 24, 25, 01, 04",
        "Test:       person22, 02, 03, 05, 06, 07, 08, 09, 10",
        "",
        *(f"{name}\tframes\t{listed}" for name in videos),
        "",
    ]
    path.write_bytes("\r\n".join(lines).encode("ascii"))
