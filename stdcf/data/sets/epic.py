"""EPIC-KITCHENS-100 (Damen et al., 2022): segments of untrimmed films, with a verb and a noun."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from stdcf.data.clips.crops import SHORT_SIDE
from stdcf.data.clips.splits import VideoData
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.annotations import one_file, open_annotations
from stdcf.data.sets.label_lists import parse_time
from stdcf.data.sets.listing import GENERATED_MARKER, Listing, folder_numbering, stream
from stdcf.data.sets.places import by_path
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.segments import Segment, check_segments, segment_files, segment_notes
from stdcf.data.sets.tree import Tree, search
from stdcf.data.video.frame_folder import RELEASE
from stdcf.errors import UserError

NAME = "epic100"
TARGETS = ("verb", "noun", "action")
Target = Literal["verb", "noun", "action"]
PARTS = {"train": "train", "test": "validation"}
_COLUMNS = (
    *("video_id", "start_timestamp", "stop_timestamp", "start_frame", "stop_frame"),
    *("verb", "verb_class", "noun", "noun_class"),
)


def load(
    root: str | Path | None = None,
    *,
    target: Target = "verb",
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
    frame_rate: float | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """Clips of `find`'s segments, decoded as they are asked for; accuracy is on validation.

    By default one frame of each of `frames` parts of a segment. See `Sampling` (`sampling` is its
    method) and `Crops` for the options.
    """
    return stream(
        find(root, target),
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
        frame_rate=frame_rate,
    )


def find(root: str | Path | None = None, target: Target = "verb") -> Listing:
    """The segments in a folder, by EPIC_100_train.csv and EPIC_100_validation.csv.

    The films lie anywhere below it as <video_id>.MP4, of which segments are cut by their times, or
    as folders <video_id> of frames, of which they are cut by their numbers.

    Args:
        target: what is told apart; "action" is a verb and a noun together.
            EPIC_100_verb_classes.csv and EPIC_100_noun_classes.csv, if they are there, name them.

    Raises:
        UserError: where a file is missing or is not in its format; for a segment under two labels
            or in both parts.
    """
    if target not in TARGETS:
        raise UserError(f"target={target!r}: choose {', '.join(TARGETS)}.")
    folder = data_root(NAME, root, "EPIC-KITCHENS-100's films and EPIC_100_train.csv")
    rows = {part: _rows(_file(folder, word)) for part, word in PARTS.items()}
    verbs, nouns = (_names(folder, what) for what in ("verb", "noun"))
    tree, are_folders = _tree(folder, {row["video_id"] for r in rows.values() for row in r})
    place = by_path(tree)
    found: dict[str, list[Segment]] = {"train": [], "test": []}
    missing: list[str] = []
    labels: dict[str, tuple[int, ...]] = {}
    for part, of_part in rows.items():
        for row in of_part:
            key = _label(row, target)
            names = [
                n.get(k, str(k)) for n, k in zip(_chosen(target, verbs, nouns), key, strict=True)
            ]
            label = " ".join(names)
            labels[label] = key
            video = place(row["video_id"])
            if video is None:
                missing.append(row["video_id"])
            else:
                found[part].append(_segment(row, video, label, are_folders))
    check_segments(folder, found)
    numbering, told = RELEASE, segment_notes(found)
    if are_folders:
        numbering, told = folder_numbering(folder, {s.video for r in found.values() for s in r})
    classes = tuple(sorted(labels, key=lambda label: labels[label]))
    number = {label: index for index, label in enumerate(classes)}
    return Listing(
        NAME,
        folder,
        classes,
        {
            part: segment_files(
                folder, of_part, number, are_folders=are_folders, numbering=numbering
            )
            for part, of_part in found.items()
        },
        tuple(dict.fromkeys(missing)),
        (folder / GENERATED_MARKER).is_file(),
        tree.left_out if missing else (),
        (f"Classes are {target}s.", *told),
        {part: len(of_part) for part, of_part in rows.items()},
    )


def _chosen(target: Target, *both: Mapping[int, str]) -> Sequence[Mapping[int, str]]:
    return {"verb": both[:1], "noun": both[1:], "action": both}[target]


def _label(row: Mapping[str, str], target: Target) -> tuple[int, ...]:
    verb, noun = int(row["verb_class"]), int(row["noun_class"])
    return {"verb": (verb,), "noun": (noun,), "action": (verb, noun)}[target]


def _segment(row: Mapping[str, str], video: str, label: str, are_folders: bool) -> Segment:
    if are_folders:
        first, last = int(row["start_frame"]), int(row["stop_frame"])
        return Segment(video, label, frames=(first - 1, last - first + 1))
    span = (parse_time(row["start_timestamp"]), parse_time(row["stop_timestamp"]))
    return Segment(video, label, span)


def _tree(folder: Path, films: set[str]) -> tuple[Tree, bool]:
    tree = search(folder)
    if any(name.rpartition("/")[2].rpartition(".")[0] in films for name in tree.videos):
        return tree, False
    return search(folder, videos=films), True


def _file(folder: Path, word: str) -> Path:
    official = f"EPIC_100_{word}.csv"
    file = one_file((folder, folder / "annotations"), word, "csv", official)
    if file is None:
        raise UserError(f"{folder} holds no *{word}*.csv: put the release's {official} there.")
    return file


def _rows(file: Path) -> list[dict[str, str]]:
    with open_annotations(file) as content:
        reader = csv.DictReader(content)
        lacking = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if lacking:
            raise UserError(f"{file} lacks the columns {', '.join(lacking)}.")
        rows = [{name: row[name] or "" for name in _COLUMNS} for row in reader]
    if not rows:
        raise UserError(f"{file} lists no segment.")
    for number, row in enumerate(rows, 2):
        try:
            times = [parse_time(row["start_timestamp"]), parse_time(row["stop_timestamp"])]
            ends = [int(row["start_frame"]), int(row["stop_frame"])]
            _label(row, "action")
        except ValueError as error:
            raise UserError(
                f"{file}, line {number}: {row['video_id']} has no times or classes."
            ) from error
        if not (0 <= times[0] < times[1] and 0 < ends[0] <= ends[1]):
            raise UserError(f"{file}, line {number}: a segment of {row['video_id']} has no length.")
    return rows


def _names(folder: Path, what: str) -> dict[int, str]:
    for place in (folder, folder / "annotations"):
        for file in sorted(place.glob(f"*{what}_classes*.csv")):
            with open_annotations(file) as content:
                try:
                    return {int(row["id"]): row["key"] for row in csv.DictReader(content)}
                except (KeyError, ValueError, TypeError) as error:
                    raise UserError(f"{file}: expected the columns id and key.") from error
    return {}
