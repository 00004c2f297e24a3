"""A data set as the trainer sees it: train and test clips, and what they were made from."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stdcf.data.clips.clips import ClipDataset, ClipPlan, Clips, plan_runs, window, window_starts
from stdcf.data.clips.transforms import EQUAL, Pixels
from stdcf.data.frames.cache import CachedVideo
from stdcf.data.video.decode import DECODER_VERSION
from stdcf.errors import UserError, printable


@dataclass(frozen=True)
class VideoData:
    """The two halves of a data set.

    manifest: SHA-256 (hex) of all that determines the clips: relative names, content hashes,
    labels, split, size and options, never a path. notes: one-line facts that the user should know.
    pixels: with which clips are normalised. listed: part -> number of videos that the set's own
    lists name for it; a part that is not there has as many as were found. frame_rates: frames a
    second of some of its videos, ascending, each once; empty of frame folders.
    """

    name: str
    classes: tuple[str, ...]
    train: Clips
    test: Clips
    manifest: str
    notes: tuple[str, ...]
    synthetic: bool = False
    pixels: Pixels = EQUAL
    listed: Mapping[str, int] = field(default_factory=dict)
    frame_rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        # They quote names of files, which may be no text.
        object.__setattr__(self, "notes", tuple(map(printable, self.notes)))

    def counts(self, broken: Collection[str] = ()) -> dict[str, dict[str, int]]:
        """Of each part its videos: listed, found, broken and used.

        broken: names of videos that turned out to be.
        """
        parts = {}
        for part, clips in (("train", self.train), ("test", self.test)):
            names = [printable(name) for name in clips.video_names]
            lost = sum(name in broken for name in names)
            parts[part] = {
                "listed": self.listed.get(part, len(names)),
                "found": len(names),
                "broken": lost,
                "used": len(names) - lost,
            }
        return parts


@dataclass(frozen=True)
class LabelledVideo:
    """A video of a data set: its name (posix, relative to the root), its label, its frames.

    used: indices of the frames that clips are cut from, one after the other; None: all.
    """

    name: str
    label: int
    cached: CachedVideo
    used: np.ndarray | None = None

    @property
    def num_frames(self) -> int:
        """Frames that clips are cut from."""
        return self.cached.num_frames if self.used is None else len(self.used)

    def window(self, start: int, clip_frames: int) -> np.ndarray:
        """Frame indices of a clip; see `window`."""
        chosen = window(start, self.num_frames, clip_frames)
        return chosen if self.used is None else self.used[chosen]


@dataclass(frozen=True)
class Split:
    """Some videos and the clips cut from them; the plan's video indices count in `videos`."""

    videos: Sequence[LabelledVideo]
    plan: ClipPlan


def check_options(size: tuple[int, int], clip_frames: int, *steps: int) -> None:
    """UserError for a size, a clip length or a step that is not positive."""
    if len(size) != 2 or min(*size, clip_frames, *steps) < 1:
        raise UserError(
            f"size={size}, clip_frames={clip_frames}, steps={steps}: give (height, width) and "
            "numbers of at least 1."
        )


def make_data(
    name: str,
    classes: Sequence[str],
    splits: Mapping[str, Split],
    options: Mapping[str, Any],
    notes: Sequence[str],
    *,
    synthetic: bool = False,
    listed: Mapping[str, int] | None = None,
    frame_rates: Sequence[float] = (),
) -> VideoData:
    """VideoData of the splits "train" and "test".

    options: what else determines the clips. listed, frame_rates: see `VideoData`.
    """
    for part, split in splits.items():
        if len(split.plan) == 0:
            raise UserError(f"No {part} clip of {name}: its videos hold no frame to use.")
    parts = {
        part: ClipDataset(
            [video.cached.frames_file for video in split.videos],
            [video.name for video in split.videos],
            [video.label for video in split.videos],
            classes,
            split.plan,
        )
        for part, split in splits.items()
    }
    return VideoData(
        name,
        tuple(classes),
        parts["train"],
        parts["test"],
        _manifest(name, classes, splits, options),
        (*notes, *_copies(splits, classes), *class_notes(parts["train"], parts["test"])),
        synthetic,
        listed=dict(listed or {}),
        frame_rates=tuple(frame_rates),
    )


def sliding_windows(
    videos: Sequence[LabelledVideo], clip_frames: int, step: int, *, last: bool
) -> Split:
    """A clip every `step` frames of each video; `last` adds the clip that ends it."""
    runs = [
        (index, video.window(start, clip_frames))
        for index, video in enumerate(videos)
        for start in window_starts(video.num_frames, clip_frames, step, last=last)
    ]
    return Split(videos, plan_runs(runs, clip_frames))


def padding_notes(splits: Mapping[str, Split], clip_frames: int) -> list[str]:
    """What to tell of videos that are shorter than a clip."""
    videos = [video for split in splits.values() for video in split.videos]
    short = [video.name for video in videos if video.num_frames < clip_frames]
    if not short:
        return []
    return [
        f"{len(short)} of {len(videos)} videos are shorter than {clip_frames} frames and repeat "
        f"their last one ({short[0]}{', …' if len(short) > 1 else ''})."
    ]


def class_notes(train: Clips, test: Clips) -> list[str]:
    """What to tell of classes: those tested and never trained, those of nearly one name."""
    told = []
    untrained = [train.classes[n] for n in sorted({*test.labels} - {*train.labels})]
    if untrained:
        more = f" and {len(untrained) - 3} more" if len(untrained) > 3 else ""
        told.append(f"Tested and never trained: {', '.join(untrained[:3])}{more}.")
    known: dict[str, str] = {}
    for name in train.classes:
        plain = re.sub(r"[\W_]+", "", name.casefold())
        before = known.setdefault(plain or name, name)
        if before != name:
            told.append(f"The classes {before!r} and {name!r} differ by their spelling alone.")
            break
    return told


def _copies(splits: Mapping[str, Split], classes: Sequence[str]) -> list[str]:
    """A note of equal files under two labels or in two parts."""
    known: dict[str, tuple[str, str, str]] = {}
    pairs = []
    for part, split in splits.items():
        for video in split.videos:
            label = classes[video.label]
            before = known.setdefault(video.cached.sha256, (video.name, label, part))
            if before[1:] != (label, part):
                pairs.append(f"{before[0]} = {video.name}")
    if not pairs:
        return []
    more = f" and {len(pairs) - 2} more" if len(pairs) > 2 else ""
    return [f"Equal files under two labels or in two parts: {', '.join(pairs[:2])}{more}."]


def _manifest(
    name: str, classes: Sequence[str], splits: Mapping[str, Split], options: Mapping[str, Any]
) -> str:
    content = {
        "format": 1,
        "decoder": DECODER_VERSION,
        "name": name,
        "classes": list(classes),
        "options": dict(options),
        "splits": {
            part: {
                "videos": [_entry(v) for v in split.videos],
                "clips": _digest(split.plan),
            }
            for part, split in splits.items()
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _entry(video: LabelledVideo) -> list[Any]:
    row: list[Any] = [video.name, video.cached.sha256, video.label]
    version = video.cached.version
    return row if version == DECODER_VERSION else [*row, version]


def _digest(plan: ClipPlan) -> str:
    indices = plan.videos.astype("<i4").tobytes() + plan.frames.astype("<i4").tobytes()
    return hashlib.sha256(repr(plan.frames.shape).encode() + indices).hexdigest()
