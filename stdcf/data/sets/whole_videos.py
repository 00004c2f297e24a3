"""What the sets share that keep all their videos decoded: from labelled files to clips."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stdcf.data.clips.splits import (
    LabelledVideo,
    VideoData,
    make_data,
    padding_notes,
    sliding_windows,
)
from stdcf.data.frames.cache import Progress, cache_videos
from stdcf.data.sets.films import film_note
from stdcf.data.sets.listing import frame_rates, rate_notes
from stdcf.data.sets.tree import check_films


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
        options: what else determines the clips.
        listed: see `VideoData`.

    Raises:
        UserError: for a film under two labels or in both parts; for a video that does not decode.
    """
    check_films(folder, {part: [(n, label) for label, n in rows] for part, rows in parts.items()})
    ordered = [(part, label, file) for part in parts for label, file in parts[part]]
    cached = cache_videos(
        [folder / file for _, _, file in ordered],
        size,
        channels,
        cache_dir=cache_dir,
        workers=workers,
        progress=progress,
    )
    videos: dict[str, list[LabelledVideo]] = {"train": [], "test": []}
    for (part, label, file), frames in zip(ordered, cached, strict=True):
        videos[part].append(LabelledVideo(file, classes.index(label), frames))
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
    }
    names = {part: [file for _, file in rows] for part, rows in parts.items()}
    told = [*notes, *film_note(names["train"], names["test"]), *padding_notes(splits, clip_frames)]
    rates = frame_rates([folder / file for file in names["train"]])
    return make_data(
        name,
        classes,
        splits,
        common | dict(options),
        [*told, *rate_notes(rates)],
        listed=listed,
        frame_rates=rates,
    )
