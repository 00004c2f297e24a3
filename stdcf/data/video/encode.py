"""RGB frames to video files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stdcf.errors import UserError


@dataclass(frozen=True)
class Codec:
    """An encoder of FFmpeg's, with its options."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


_H264 = Codec("libx264", {"preset": "veryfast", "crf": "23"})
# By extension.
CODECS = {
    "mp4": _H264,
    "mkv": _H264,
    "avi": Codec("mpeg4", {"q": "4"}),
    "webm": Codec("libvpx", {"deadline": "realtime", "cpu-used": "8", "b": "1M"}),
}


def write_video(path: Path, frames_FHW3: np.ndarray, codec: Codec, fps: int = 25) -> None:
    """Encodes uint8 RGB frames with even height and width, in one thread.

    Raises:
        UserError: where PyAV or its encoder is missing, or for an odd size.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("Writing videos needs PyAV: pip install av.") from error
    _, height, width, _ = frames_FHW3.shape
    if height % 2 or width % 2:
        raise UserError(f"Cannot encode {height}×{width}: give an even height and width.")
    with av.open(str(path), "w") as container:
        try:
            stream: Any = container.add_stream(codec.name, rate=fps, options=dict(codec.options))
        except ValueError as error:
            raise UserError(
                f"PyAV here has no encoder {codec.name}: take the wheel, pip install --only-binary "
                "av av."
            ) from error
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.thread_count = 1
        for frame_HW3 in frames_FHW3:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HW3, format="rgb24")))
        container.mux(stream.encode(None))
