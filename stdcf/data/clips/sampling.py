"""Which frames of a video make up a clip: dense at an interval, or one of each segment."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

MOST_FPS = 1000


class Sampling(BaseModel):
    """How clips are drawn from a video of any length.

    "dense": `frames` frames at `interval`, out of frames·interval consecutive ones; 8 at 8 out of
    64 is the paper's (§3.2.1). "segments": the video in `frames` equal parts, one frame of each
    (TSN, Wang et al., 2016; so TRN, TSM and TIN). Past a video's end its last frame is repeated.
    fps: frames are first resampled to so many a second by their times; None: a video's own count,
    whatever its rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["dense", "segments"] = "dense"
    frames: PositiveInt = 8
    interval: PositiveInt = 8
    fps: Annotated[float, Field(gt=0, le=MOST_FPS)] | None = None

    def draw(self, num_frames: int, rng: np.random.Generator) -> np.ndarray:
        """Frame indices [T] of a random training clip."""
        if self.method == "segments":
            edges = np.arange(self.frames + 1) * num_frames / self.frames
            return _inside(rng.uniform(edges[:-1], edges[1:]), num_frames)
        start = rng.integers(0, self._last_start(num_frames) + 1)
        return self._dense(int(start), num_frames)

    def views(self, num_frames: int, clips: int) -> np.ndarray:
        """Frame indices [clips, T] of test clips evenly spread over the video.

        One dense clip is the middle one; one clip of segments takes each segment's middle frame,
        two its middle and its first (TSM's twice-sample), and more evenly spaced ones from its
        first frame on.
        """
        if self.method == "segments":
            # Of a segment; the middle first, where there is one among them.
            offsets = (np.arange(clips) + clips // 2) % clips / clips if clips > 1 else [0.5]
            offsets = np.asarray(offsets)
            places = (np.arange(self.frames) + offsets[:, None]) * num_frames / self.frames
            return _inside(places, num_frames)
        last = self._last_start(num_frames)
        starts = [last / 2] if clips == 1 else np.linspace(0, last, clips)
        return np.stack([self._dense(round(start), num_frames) for start in starts])

    def _last_start(self, num_frames: int) -> int:
        return max(num_frames - self.frames * self.interval, 0)

    def _dense(self, start: int, num_frames: int) -> np.ndarray:
        return np.minimum(start + np.arange(self.frames) * self.interval, num_frames - 1)


def _inside(places: np.ndarray, num_frames: int) -> np.ndarray:
    return np.minimum(places.astype(np.int64), num_frames - 1)
