"""Kinetics-400 (Kay et al., 2017): annotations in CSV, or one folder of videos a class."""

import csv
import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from stdcf.data.clips.splits import VideoData
from stdcf.data.clips.streamed import VideoFiles
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.annotations import check_labels, open_annotations
from stdcf.data.sets.listing import GENERATED_MARKER, Listing, stream
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.video_folder import EXTENSIONS, videos_by_class
from stdcf.errors import UserError

NAME = "kinetics400"
COLUMNS = ("label", "youtube_id", "time_start", "time_end")
# The names in use for the part that accuracy is reported on.
TEST_NAMES = ("val", "validate", "validation")


def load(
    root: str | Path | None = None,
    *,
    frames: int = 8,
    interval: int = 8,
    sampling: str = "dense",
    crop: int = 224,
    short_side: Sequence[int] = (256, 320),
    flip: bool = True,
    test_clips: int = 10,
    test_crops: int = 3,
    test_crop: int = 256,
    test_short_side: int = 256,
    progress: Progress | None = None,
) -> VideoData:
    """Clips of `find`'s videos, decoded as they are asked for; the defaults are the paper's (§3.2).

    See `Sampling` (`sampling` is its method) and `Crops` for the options. Training is on the
    training videos, accuracy on the validation videos.
    """
    return stream(
        find(root),
        method=sampling,
        frames=frames,
        interval=interval,
        crop=crop,
        short_side=short_side,
        flip=flip,
        test_clips=test_clips,
        test_crops=test_crops,
        test_crop=test_crop,
        test_short_side=test_short_side,
    )


def find(root: str | Path | None = None) -> Listing:
    """The videos in a folder.

    With CSV files in it or in its `annotations` (columns label, youtube_id, time_start, time_end,
    split): <id>_<start>_<end>.mp4 (or mkv, avi, webm …; six digits each) or <id>.mp4, anywhere
    below it. Without: train/<class>/<video> beside val/<class>/<video>.

    Raises:
        UserError: where there is neither.
    """
    folder = data_root(
        NAME,
        root,
        f"Kinetics-400's videos and CSV files, or make a small one: python -m suites.data generate "
        f"{NAME}",
    )
    rows = _annotations(folder)
    if not rows:
        return _folder_tree(folder)
    files = _files_by_stem(folder)
    check_labels(folder, {part: [(k, label) for label, k in r] for part, r in rows.items()})
    classes = tuple(sorted({label for part in rows.values() for label, _ in part}))
    number = {label: index for index, label in enumerate(classes)}
    found: dict[str, VideoFiles] = {}
    missing: list[str] = []
    for part in ("train", "test"):
        there: dict[str, int] = {}
        for label, stem in rows.get(part, ()):
            file = files.get(stem) or files.get(stem[:-14])
            if file is None:
                missing.append(stem)
            else:
                there[file] = number[label]
        found[part] = _video_files(folder, there)
    synthetic = (folder / GENERATED_MARKER).is_file()
    return Listing(NAME, folder, classes, found, tuple(missing), synthetic)


def _annotations(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """ "train" and "test" -> (label, stem of the file) of each row of the CSV files."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for file in sorted([*folder.glob("*.csv"), *folder.glob("annotations/*.csv")]):
        for row in _rows(file):
            part = _part(row.get("split") or file.stem)
            if part is None or not row["label"]:
                continue
            try:
                start, end = _seconds(row["time_start"]), _seconds(row["time_end"])
            except (ValueError, TypeError, OverflowError) as error:
                raise UserError(
                    f"{file}: {row['youtube_id']} has no times in seconds: "
                    f"{row['time_start']!r}, {row['time_end']!r}."
                ) from error
            stem = f"{row['youtube_id']}_{start}_{end}"
            rows.setdefault(part, []).append((row["label"], stem))
    return rows


@functools.cache
def _seconds(text: str) -> str:
    """A time as files' names have it."""
    return f"{round(float(text)):06d}"


def _rows(file: Path) -> Iterator[Mapping[str, str]]:
    with open_annotations(file) as content:
        # Not csv.DictReader, which takes twice as long for a million lines.
        reader = csv.reader(content)
        given = next(reader, [])
        # The official test list has no labels.
        if "label" not in given and "test" in file.stem:
            return
        lacking = [name for name in COLUMNS if name not in given]
        if lacking:
            raise UserError(
                f"{file} lacks the columns {', '.join(lacking)}: Kinetics' CSV has "
                f"{', '.join(COLUMNS)}, split."
            )
        for cells in filter(None, reader):
            row = dict(zip(given, cells, strict=False))
            if len(cells) < len(given):
                label = row.get("label")
                raise UserError(f"{file}, line {reader.line_num}: cut short, of {label!r}.")
            yield row


@functools.cache
def _part(name: str) -> str | None:
    """The half that a split's or a file's name means; None for the unlabelled test part."""
    words = re.split(r"[^a-z]+", name.lower())
    if "train" in words:
        return "train"
    return "test" if any(word in words for word in TEST_NAMES) else None


def _files_by_stem(folder: Path) -> dict[str, str]:
    """Name without extension -> path from the folder (posix), of every video below it."""
    found: dict[str, str] = {}
    # Not Path.rglob, which takes ten times as long for a quarter of a million files.
    for parent, folders, names in os.walk(folder):
        folders.sort()
        place = Path(parent).relative_to(folder).as_posix()
        for name in sorted(names):
            stem, _, extension = name.rpartition(".")
            if stem and f".{extension.lower()}" in EXTENSIONS:
                found.setdefault(stem, name if place == "." else f"{place}/{name}")
    return found


def _folder_tree(folder: Path) -> Listing:
    names = (*TEST_NAMES, "test")
    test = next((folder / name for name in names if (folder / name).is_dir()), None)
    if test is None or not (folder / "train").is_dir():
        raise UserError(
            f"{folder} holds neither a CSV file with {', '.join(COLUMNS)}, split nor "
            "train/<class>/<video> beside val/<class>/<video>."
        )
    videos = {"train": videos_by_class(folder / "train"), "test": videos_by_class(test)}
    classes = tuple(sorted({label for part in videos.values() for label, _ in part}))
    files = {
        part: _video_files(
            folder,
            {file.relative_to(folder).as_posix(): classes.index(label) for label, file in found},
        )
        for part, found in videos.items()
    }
    return Listing(NAME, folder, classes, files, (), (folder / GENERATED_MARKER).is_file())


def _video_files(folder: Path, labels: Mapping[str, int]) -> VideoFiles:
    """In the order of their names, whatever the order of the CSV."""
    names = tuple(sorted(labels))
    return VideoFiles(folder, names, np.array([labels[name] for name in names], np.int64))
