"""Fixed-length clips: what the trainer and the tests ask of them, and those of decoded videos."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from stdcf.data.frames.cache import read_frames
from stdcf.errors import UserError


@dataclass(frozen=True)
class ClipPlan:
    """Which frames make up each clip: for each of its T a video and a frame index (from 0)."""

    videos: np.ndarray  # [N, T]
    frames: np.ndarray  # [N, T]

    def __len__(self) -> int:
        return len(self.frames)


def plan_runs(runs: Sequence[tuple[int, np.ndarray]], clip_frames: int) -> ClipPlan:
    """One clip for each (video, frame indices [clip_frames])."""
    return ClipPlan(
        np.array([[video] * clip_frames for video, _ in runs], np.int32).reshape(-1, clip_frames),
        np.array([frames for _, frames in runs], np.int32).reshape(-1, clip_frames),
    )


def window_starts(num_frames: int, clip_frames: int, step: int, *, last: bool) -> list[int]:
    """First frames of the clips that fit, every `step`; `last` adds the one that ends the video.

    A video shorter than a clip gets one clip, from 0 (see `window`).
    """
    end = max(num_frames - clip_frames, 0)
    starts = list(range(0, end + 1, step))
    if last and starts[-1] != end:
        starts.append(end)
    return starts


def window(start: int, num_frames: int, clip_frames: int) -> np.ndarray:
    """Frame indices [clip_frames] from `start`; past the end the last frame is repeated."""
    return np.minimum(np.arange(start, start + clip_frames), num_frames - 1)


class Clips(Dataset, ABC):
    """Labelled clips of one shape.

    Attributes:
        labels, video_of_clip: int64 [N], of each item.
        decodes: clips are decoded when they are asked for, so worker processes pay.
    """

    video_names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    video_of_clip: np.ndarray
    decodes: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of every clip."""

    @abstractmethod
    def __getitems__(self, indices: Sequence[int]) -> tuple[Any, ...]:
        """(clips uint8 [B, C, T, H, W], labels int64 [B], videos int64 [B]) in one gather.

        Where videos may turn out to be broken, the fourth is a list of (name, reason) of those
        whose clips are left out.
        """

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        """(clip uint8 [C, T, H, W], label, video); of an item with several clips the middle one."""
        clip_BCTHW, label_B, video_B, *broken = self.__getitems__([index])
        if len(clip_BCTHW) == 0:
            name, reason = broken[0][0]
            raise UserError(f"{name}: {reason}. Copy it again, or take it out.")
        return clip_BCTHW[len(clip_BCTHW) // 2], int(label_B[0]), int(video_B[0])

    def describe(self, index: int) -> str:
        """Where an item's clip lies in its video, for a preview."""
        return ""

    def drawn(self, *numbers: int) -> "Clips":
        """The clips of an epoch, where they are random: the same for the same numbers."""
        return self


class ClipDataset(Clips):
    """Fixed-length clips cut from decoded videos (uint8, memory-mapped).

    videos: a cache file or an array uint8 [F, C, H, W] for each video, all of one C, H and W.
    A clip that spans two videos (KTH's joined counting) counts as its first frame's.
    """

    def __init__(
        self,
        videos: Sequence[Path | np.ndarray],
        video_names: Sequence[str],
        video_labels: Sequence[int],
        classes: Sequence[str],
        plan: ClipPlan,
    ) -> None:
        self.videos = list(videos)
        self.video_names = tuple(video_names)
        self.classes = tuple(classes)
        self.plan = plan
        self.video_of_clip: np.ndarray = plan.videos[:, 0].astype(np.int64)
        self.labels: np.ndarray = np.asarray(video_labels, np.int64)[self.video_of_clip]
        # Most clips are one slice of one video, which copies far faster than a list of frames.
        self._one_slice_N = (np.diff(plan.frames, axis=1) == 1).all(1) & (
            plan.videos == plan.videos[:, :1]
        ).all(1)
        self._open: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        _, channels, height, width = self._frames(0).shape
        return channels, self.plan.frames.shape[1], height, width

    def describe(self, index: int) -> str:
        return f"from frame {int(self.plan.frames[index, 0])}"

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        chosen = np.asarray(indices, np.int64)
        clip_BCTHW = np.empty((len(chosen), *self.clip_shape), np.uint8)
        for row, index in enumerate(chosen):
            clip_TCHW = clip_BCTHW[row].transpose(1, 0, 2, 3)
            frame_T, video_T = self.plan.frames[index], self.plan.videos[index]
            if self._one_slice_N[index]:
                clip_TCHW[:] = self._frames(video_T[0])[frame_T[0] : frame_T[-1] + 1]
            else:
                for video in np.unique(video_T):
                    mine = video_T == video
                    clip_TCHW[mine] = self._frames(video)[frame_T[mine]]
        return (
            torch.from_numpy(clip_BCTHW),
            torch.from_numpy(self.labels[chosen]),
            torch.from_numpy(self.video_of_clip[chosen]),
        )

    def _frames(self, video: int) -> np.ndarray:
        frames = self._open.get(int(video))
        if frames is None:
            source = self.videos[video]
            frames = source if isinstance(source, np.ndarray) else read_frames(source)
            self._open[int(video)] = frames
        return frames

    def __getstate__(self) -> dict[str, Any]:
        # A memory map would be pickled as its whole content; a worker process opens its own.
        return self.__dict__ | {"_open": {}}
