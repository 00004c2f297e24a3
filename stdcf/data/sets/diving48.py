"""Diving48 (Li et al., 2018): 48 kinds of dives, which no single frame tells apart."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stdcf.data.clips.crops import SHORT_SIDE
from stdcf.data.clips.splits import VideoData
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.annotations import one_file
from stdcf.data.sets.listing import GENERATED_MARKER, Listing, stream
from stdcf.data.sets.places import by_path
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.segments import Segment, check_segments, segment_files
from stdcf.data.sets.tree import search
from stdcf.errors import UserError

NAME = "diving48"


def load(
    root: str | Path | None = None,
    *,
    frames: int = 8,
    interval: int = 8,
    sampling: str = "segments",
    crop: int = 224,
    short_side: Sequence[int] = SHORT_SIDE,
    flip: bool = True,
    multi_scale: Sequence[float] = (),
    test_clips: int = 1,
    test_crops: int = 1,
    test_crop: int = 224,
    test_short_side: int = 256,
    fps: float | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """Clips of `find`'s videos, decoded as they are asked for.

    By default one frame of each of `frames` segments. See `Sampling` (`sampling` is its method) and
    `Crops` for the options.
    """
    return stream(
        find(root),
        method=sampling,
        frames=frames,
        interval=interval,
        crop=crop,
        short_side=short_side,
        flip=flip,
        multi_scale=multi_scale,
        test_clips=test_clips,
        test_crops=test_crops,
        test_crop=test_crop,
        test_short_side=test_short_side,
        fps=fps,
    )


def find(root: str | Path | None = None) -> Listing:
    """The videos in a folder, by *train*.json and *test*.json (vid_name, label) of a release.

    The videos lie anywhere below it as <vid_name>.mp4. *vocab*.json, if it is there, names the
    classes.

    Raises:
        UserError: where a list is missing or is not in its format; for a video under two labels or
            in both parts.
    """
    folder = data_root(NAME, root, "Diving48's videos and Diving48_V2_train.json")
    rows = {part: _rows(_file(folder, part)) for part in ("train", "test")}
    vocabulary = next(iter(sorted(folder.glob("*vocab*.json"))), None)
    count = 1 + max(label for of_part in rows.values() for _, label in of_part)
    names = _vocabulary(vocabulary) if vocabulary else [str(number) for number in range(count)]
    if len(names) < count:
        raise UserError(f"{vocabulary} names {len(names)} classes, and the lists have {count}.")
    tree = search(folder)
    place = by_path(tree)
    found: dict[str, list[Segment]] = {"train": [], "test": []}
    missing = []
    for part, of_part in rows.items():
        for name, label in of_part:
            video = place(name)
            if video is None:
                missing.append(name)
            else:
                found[part].append(Segment(video, names[label]))
    check_segments(folder, found)
    number = {name: index for index, name in enumerate(names)}
    return Listing(
        NAME,
        folder,
        tuple(names),
        {part: segment_files(folder, of_part, number) for part, of_part in found.items()},
        tuple(missing),
        (folder / GENERATED_MARKER).is_file(),
        tree.left_out if missing else (),
        listed={part: len(of_part) for part, of_part in rows.items()},
    )


def _file(folder: Path, part: str) -> Path:
    official = f"Diving48_V2_{part}.json"
    file = one_file((folder,), part, "json", official)
    if file is None:
        raise UserError(f"{folder} holds no *{part}*.json: put the release's {official} there.")
    return file


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}.") from error


def _rows(file: Path) -> list[tuple[str, int]]:
    try:
        rows = [(str(row["vid_name"]), int(row["label"])) for row in _json(file)]
    except (TypeError, KeyError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{file}: expected a list of objects with vid_name and label.") from error
    if not rows or min(label for _, label in rows) < 0:
        raise UserError(f"{file} lists no video, or a label below 0.")
    return rows


def _vocabulary(file: Path) -> list[str]:
    content = _json(file)
    if not isinstance(content, list):
        raise UserError(f"{file}: expected a list of classes.")
    names = [" ".join(map(str, n)) if isinstance(n, list) else str(n) for n in content]
    if len(set(names)) < len(names):
        raise UserError(f"{file} names a class twice.")
    return names
