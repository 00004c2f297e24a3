"""KTH: six actions by 25 persons in four scenarios, split by person."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stdcf.data.clips.splits import LabelledVideo, Split, VideoData, check_options, make_data
from stdcf.data.frames.cache import CachedVideo, Progress, cache_videos
from stdcf.data.sets.kth_sequences import (
    ACTIONS,
    TEST_PERSONS,
    TRAIN_PERSONS,
    VALIDATION_PERSONS,
    Counting,
    KthVideo,
    locate,
    plan_clips,
    read_sequences,
)
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.tree import search
from stdcf.errors import UserError

# Lies beside generated videos, so that they are never taken for film.
SYNTHETIC_MARKER = "synthetic_actions.json"
# What accuracy is reported on: the paper's 4551 clips are the validation persons'.
REPORTED = {"validation": VALIDATION_PERSONS, "test": TEST_PERSONS}


def load(
    root: str | Path | None = None,
    *,
    size: tuple[int, int] = (60, 80),
    clip_frames: int = 16,
    channels: int = 1,
    counting: Counting = "subsequence",
    report_on: Literal["validation", "test"] = "validation",
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """The official layout: <action>/personNN_<action>_dN_uncomp.avi beside 00sequences.txt.

    size: (height, width). counting: see `plan_clips`. Training is on persons 11–18; `report_on`
    chooses which of the other two official parts is the test split. A partial copy works and says
    so in its notes. Raises UserError where either split is empty.
    """
    if report_on not in REPORTED:
        raise UserError(f"report_on={report_on!r}: choose {' or '.join(REPORTED)}.")
    check_options(size, clip_frames)
    folder = data_root("kth", root, "KTH's six folders and 00sequences.txt")
    sequences = read_sequences(folder)
    tree = search(folder)
    there = locate(tree, sequences)
    found = [video for video in sequences if video.name in there]
    persons = {"train": TRAIN_PERSONS, "test": REPORTED[report_on]}
    told = tree.linked() if len(found) < len(sequences) else ""
    for split, members in persons.items():
        if not any(video.person in members for video in found):
            raise UserError(
                f"No {split} video of KTH in {folder}: it holds {len(found)} of {len(sequences)}, "
                f"none of persons {', '.join(map(str, members))}. Get the rest with "
                f"python -m suites.data download kth --root {folder}"
                f"{told and '. ' + told}"
            )
    # The third part's videos are in neither split and need no decoding.
    used = [video for video in found if video.person in {*persons["train"], *persons["test"]}]
    cached = cache_videos(
        [folder / there[video.name] for video in used],
        size,
        channels,
        cache_dir=cache_dir,
        workers=workers,
        progress=progress,
    )
    used, clamped = _clamp(used, cached)
    splits = {}
    for split, members in persons.items():
        mine = [index for index, video in enumerate(used) if video.person in members]
        splits[split] = Split(
            [_labelled(used[index], there, cached[index]) for index in mine],
            plan_clips([used[index] for index in mine], members, counting, clip_frames),
        )
    options = {
        "size": list(size),
        "channels": channels,
        "clip_frames": clip_frames,
        "counting": counting,
        "report_on": report_on,
    }
    notes = _notes(sequences, found, splits, clamped)
    notes += _padding_notes(used, clip_frames)
    notes += [told] if told else []
    return make_data(
        "kth",
        ACTIONS,
        splits,
        options,
        notes,
        synthetic=(folder / SYNTHETIC_MARKER).is_file(),
        listed={
            part: sum(video.person in members for video in sequences)
            for part, members in persons.items()
        },
    )


def _labelled(video: KthVideo, there: Mapping[str, str], cached: CachedVideo) -> LabelledVideo:
    return LabelledVideo(there[video.name], ACTIONS.index(video.action), cached)


def _clamp(
    videos: Sequence[KthVideo], cached: Sequence[CachedVideo]
) -> tuple[list[KthVideo], list[str]]:
    """Ranges cut to the frames that there are, and the names of the videos that this changed."""
    result, changed = [], []
    for video, frames in zip(videos, cached, strict=True):
        ranges = tuple(
            (first, min(last, frames.num_frames))
            for first, last in video.ranges
            if first <= frames.num_frames
        )
        if ranges != video.ranges:
            changed.append(video.name)
        result.append(replace(video, ranges=ranges))
    return result, changed


def _notes(
    sequences: Sequence[KthVideo],
    found: Sequence[KthVideo],
    splits: Mapping[str, Split],
    clamped: Sequence[str],
) -> list[str]:
    notes = []
    if len(found) < len(sequences):
        persons = ", ".join(f"{person:02d}" for person in sorted({v.person for v in found}))
        notes.append(
            f"{len(found)} of {len(sequences)} KTH videos found (persons {persons}; "
            f"{len(splits['train'].videos)} to train, {len(splits['test'].videos)} to test); "
            "accuracy from a partial copy is not KTH's."
        )
    if clamped:
        notes.append(
            f"{len(clamped)} videos end before their annotated ranges do, which were cut short "
            f"({clamped[0]}{', …' if len(clamped) > 1 else ''})."
        )
    return notes


def _padding_notes(videos: Sequence[KthVideo], clip_frames: int) -> list[str]:
    short = [
        video.name
        for video in videos
        if any(last - first + 1 < clip_frames for first, last in video.ranges)
    ]
    if not short:
        return []
    return [
        f"{len(short)} videos have ranges shorter than {clip_frames} frames, which repeat their "
        f"last one ({short[0]}{', …' if len(short) > 1 else ''})."
    ]
