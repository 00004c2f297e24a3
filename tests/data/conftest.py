"""Small videos, made here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

MakeVideo = Callable[..., np.ndarray]


@pytest.fixture
def make_video() -> MakeVideo:
    """A function that writes a video and returns its gray frames, uint8 [F, H, W]."""
    import av

    def make(
        path: Path, frames: int = 40, *, codec: str = "mpeg4", height: int = 48, seed: int = 0
    ) -> np.ndarray:
        rng = np.random.default_rng(seed)
        picture = rng.integers(0, 256, (height, 64), np.uint8)
        gray_FHW = np.stack([np.roll(picture, shift, axis=1) for shift in range(frames)])
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = height, 64
            stream.pix_fmt = "gray" if codec == "ffv1" else "yuv420p"
            for gray_HW in gray_FHW:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(gray_HW, format="gray")))
            container.mux(stream.encode())
        return gray_FHW

    return make
