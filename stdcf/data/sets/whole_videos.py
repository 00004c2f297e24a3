"""What the sets share that keep all their videos decoded: from labelled files to clips."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from stdcf.data.clips.sampling import MOST_FPS
from stdcf.data.clips.splits import (
    LabelledVideo,
    VideoData,
    make_data,
    padding_notes,
    sliding_windows,
)
from stdcf.data.frames.cache import CachedVideo, Progress, cache_videos
from stdcf.data.sets.films import film_note
from stdcf.data.sets.listing import frame_rates, time_notes
from stdcf.data.sets.tree import check_films
from stdcf.data.video.seek import frame_seconds
from stdcf.data.video.timing import Timing
from stdcf.errors import UserError


def decoded_clips(
    name: str,
    folder: Path,
    classes: Sequence[str],
    parts: Mapping[str, Sequence[tuple[str, str]]],
    *,
    size: tuple[int, int],
    clip_frames: int,
    channels: int,
    train_step: int,
    test_step: int,
    fps: float | None = None,
    options: Mapping[str, Any],
    notes: Sequence[str] = (),
    listed: Mapping[str, int] | None = None,
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """Clips of whole frames scaled to `size` (height, width), every few frames of each video.

    Args:
        parts: "train" and "test" -> (class, name from the folder, posix).
        fps: frames a second by a file's times, of which clips are cut; None: all its own.
        options: what else determines the clips.
        listed: see `VideoData`.

    Raises:
        UserError: for a film under two labels or in both parts; for a video that does not decode.
    """
    check_films(folder, {part: [(n, label) for label, n in rows] for part, rows in parts.items()})
    if len(classes) < 2:
        raise UserError(
            f"{name} in {folder} has one class, {', '.join(classes)}: at least two are needed."
        )
    ordered = [(part, label, file) for part in parts for label, file in parts[part]]
    cached = cache_videos(
        [folder / file for _, _, file in ordered],
        size,
        channels,
        cache_dir=cache_dir,
        workers=workers,
        progress=progress,
    )
    used = _resampled([folder / file for _, _, file in ordered], cached, fps)
    videos: dict[str, list[LabelledVideo]] = {"train": [], "test": []}
    for (part, label, file), frames, used_F in zip(ordered, cached, used, strict=True):
        videos[part].append(LabelledVideo(file, classes.index(label), frames, used_F))
    splits = {
        "train": sliding_windows(videos["train"], clip_frames, train_step, last=False),
        "test": sliding_windows(videos["test"], clip_frames, test_step, last=True),
    }
    common = {
        "size": list(size),
        "channels": channels,
        "clip_frames": clip_frames,
        "train_step": train_step,
        "test_step": test_step,
        **({} if fps is None else {"fps": fps}),
    }
    names = {part: [file for _, file in rows] for part, rows in parts.items()}
    told = [*notes, *film_note(names["train"], names["test"]), *padding_notes(splits, clip_frames)]
    rates = frame_rates([folder / file for file in names["train"]])
    return make_data(
        name,
        classes,
        splits,
        common | dict(options),
        [*told, *time_notes(rates, fps)],
        listed=listed,
        frame_rates=rates,
    )


def _resampled(
    files: Sequence[Path], cached: Sequence[CachedVideo], fps: float | None
) -> Iterable[np.ndarray | None]:
    """Of each file the indices of its frames at a rate; None: all.

    Raises:
        UserError: for a wrong rate; where a file's packets do not tell the times of its frames.
    """
    if fps is None:
        return [None] * len(files)
    if not 0 < fps <= MOST_FPS:
        raise UserError(f"fps={fps}: give a number above 0, at most {MOST_FPS}.")

    def used(file: Path, frames: CachedVideo) -> np.ndarray:
        seconds_F = frame_seconds(file)[: frames.num_frames]
        if len(seconds_F) < frames.num_frames:
            raise UserError(
                f"{file}: {frames.num_frames} frames and times of {len(seconds_F)}; give no fps."
            )
        return Timing(fps).offered(seconds_F)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(used, files, cached))
