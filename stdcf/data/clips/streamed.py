"""Clips decoded from their files when they are asked for, for sets too large to keep decoded."""

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stdcf.data.clips.clips import Clips
from stdcf.data.clips.crops import Crops
from stdcf.data.clips.sampling import Sampling
from stdcf.data.video import frame_folder, seek
from stdcf.data.video.decode import BrokenVideo, count_frames
from stdcf.data.video.timing import Timing
from stdcf.errors import printable

# What a dataset gives: clips, labels, videos, and (name, reason) of each broken video.
Batch = tuple[Tensor, Tensor, Tensor, list[tuple[str, str]]]

RGB = 3


@dataclass(frozen=True)
class VideoFiles:
    """Videos and their classes.

    Attributes:
        root: folder that `names` start from.
        names: posix, of video files or, if `are_folders`, of folders of JPEGs.
        labels: int64 [N].
        numbering: of the frames in all folders.
        parts: of each folder the (offset, number) of its frames that are used, int64 [N, 2]; None:
            all frames of each.
        spans: of each file the (start, end) in seconds that is used, float64 [N, 2]; nan: all.
        may_be_cut: a file that is not longer than its span is the segment itself.
        frame_rate: frames a second that folders were made with; None: not known.
    """

    root: Path
    names: tuple[str, ...]
    labels: np.ndarray
    are_folders: bool = False
    numbering: frame_folder.Numbering = frame_folder.RELEASE
    parts: np.ndarray | None = None
    spans: np.ndarray | None = None
    may_be_cut: bool = False
    frame_rate: float | None = None

    def check(self, index: int, path: Path) -> int:
        """Frames of a video by decoding all of it; UserError says what is broken."""
        if self.are_folders:
            return frame_folder.check(path, self.numbering, self.part(index))
        count = count_frames(path)
        timing = self.timing(index)
        if timing.span is not None:
            try:
                timing.offered(seek.frame_seconds(path))
            except ValueError as error:
                raise BrokenVideo(path, str(error)) from error
        return count

    def timing(self, index: int, fps: float | None = None) -> Timing:
        """What of a file is used."""
        span = None if self.spans is None or np.isnan(self.spans[index, 0]) else self.spans[index]
        return Timing(
            fps, None if span is None else (float(span[0]), float(span[1])), self.may_be_cut
        )

    def part(self, index: int) -> tuple[int, int] | None:
        """(offset, number) of a folder's frames that are used; None: all."""
        return (
            None if self.parts is None else (int(self.parts[index, 0]), int(self.parts[index, 1]))
        )


class _Streamed(Clips):
    decodes = True
    num_views = 1  # clips that an item gives

    def __init__(
        self, videos: VideoFiles, classes: Sequence[str], sampling: Sampling, crops: Crops
    ) -> None:
        self.videos = videos
        self.classes = tuple(classes)
        self.sampling = sampling
        self.crops = crops
        self.video_names = videos.names
        self.labels = videos.labels
        self.video_of_clip = np.arange(len(videos.names))

    def __len__(self) -> int:
        return len(self.videos.names)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        shape = (len(indices) * self.num_views, *self.clip_shape)
        clip_BCTHW = torch.empty(shape, dtype=torch.uint8)
        whole: list[int] = []
        broken: list[tuple[str, str]] = []
        for index in indices:
            start = len(whole) * self.num_views
            try:
                self._fill(clip_BCTHW[start : start + self.num_views], index)
                whole.append(index)
            except BrokenVideo as error:
                broken.append((printable(self.video_names[index]), error.reason))
        video_B = torch.tensor(whole, dtype=torch.int64).repeat_interleave(self.num_views)
        label_B = torch.from_numpy(self.labels)[video_B]
        return clip_BCTHW[: len(video_B)], label_B, video_B, broken

    @abstractmethod
    def _fill(self, clip_VCTHW: Tensor, index: int) -> None:
        """Writes the clips of a video."""

    def _read(
        self, video: int, choose: seek.Choose, keep: seek.Keep
    ) -> tuple[list[Tensor], np.ndarray]:
        path = self.videos.root / self.videos.names[video]
        if self.videos.are_folders:
            part, rate = self.videos.part(video), self.videos.frame_rate
            choose = _of_rate(choose, rate, self.sampling.fps)
            return frame_folder.read_frames(path, choose, keep, self.videos.numbering, part)
        return seek.read_frames(path, choose, keep, self.videos.timing(video, self.sampling.fps))


def _of_rate(choose: seek.Choose, frame_rate: float | None, fps: float | None) -> seek.Choose:
    """What is chosen of frames that come at a rate, resampled to another."""
    if fps is None or frame_rate is None:
        return choose
    timing = Timing(fps)

    def resampled(num_frames: int) -> np.ndarray:
        offered = timing.offered(np.arange(num_frames) / frame_rate)
        return offered[choose(len(offered))]

    return resampled


class RandomClips(_Streamed):
    """One random clip of each video: random in time, scale, place and (if `crops.flip`) side.

    A clip depends on its video's index and on the numbers of `drawn` alone.
    """

    def __init__(
        self, videos: VideoFiles, classes: Sequence[str], sampling: Sampling, crops: Crops
    ) -> None:
        super().__init__(videos, classes, sampling, crops)
        self._numbers: tuple[int, ...] = (0,)

    def drawn(self, *numbers: int) -> "RandomClips":
        other = copy.copy(self)
        other._numbers = numbers
        return other

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        return RGB, self.sampling.frames, self.crops.crop, self.crops.crop

    def _fill(self, clip_VCTHW: Tensor, index: int) -> None:
        seed = (*self._numbers, index)

        def choose(num_frames: int) -> np.ndarray:
            return self.sampling.draw(num_frames, np.random.default_rng((*seed, 0)))

        crop = self.crops.drawn(np.random.default_rng((*seed, 1)))
        crops_CHW, position_T = self._read(index, choose, crop)
        for time, position in enumerate(position_T):
            clip_VCTHW[0, :, time].copy_(crops_CHW[position])


class VideoViews(_Streamed):
    """Whole videos to test on: several clips in time, several crops of each.

    An item is a video and gives `num_views` clips, clip by clip. Each frame is decoded and scaled
    once, however many clips and crops show it.
    """

    def __init__(
        self,
        videos: VideoFiles,
        classes: Sequence[str],
        sampling: Sampling,
        crops: Crops,
        num_clips: int,
    ) -> None:
        super().__init__(videos, classes, sampling, crops)
        self.num_clips = num_clips
        self.num_views = num_clips * crops.test_crops

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        return RGB, self.sampling.frames, self.crops.test_crop, self.crops.test_crop

    def _fill(self, views_VCTHW: Tensor, index: int) -> None:
        views = iter(views_VCTHW)

        def choose(num_frames: int) -> np.ndarray:
            return self.sampling.views(num_frames, self.num_clips)

        scaled_CHW, position_KT = self._read(index, choose, self.crops.scaled)
        crops = self.crops.views(torch.stack(scaled_CHW))
        for position_T in torch.from_numpy(position_KT):
            for crop_FCHW in crops:
                next(views).copy_(crop_FCHW[position_T].transpose(0, 1))
