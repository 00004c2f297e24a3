"""Something-Something v1 and v2 (Goyal et al., 2017), Jester (Materzynska et al., 2019)."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from stdcf.data.clips.crops import SHORT_SIDE
from stdcf.data.clips.splits import VideoData
from stdcf.data.clips.streamed import VideoFiles
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.annotations import check_labels, one_file, open_annotations
from stdcf.data.sets.listing import GENERATED_MARKER, Listing, folder_numbering, stream
from stdcf.data.sets.places import the_one
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.tree import Tree, check_films, is_video, search
from stdcf.data.video.frame_folder import RELEASE
from stdcf.errors import UserError

# Jester has the layout of Something-Something v1.
Version = Literal[1, 2, "jester"]

# The part that accuracy is reported on; the official test part has no labels.
PARTS = {"train": "train", "test": "validation"}

Rows = list[tuple[str, str]]  # id and label


def load(
    version: Version,
    root: str | Path | None = None,
    *,
    frames: int = 8,
    interval: int = 8,
    sampling: str = "segments",
    crop: int = 224,
    short_side: Sequence[int] = SHORT_SIDE,
    multi_scale: Sequence[float] = (),
    flip: bool = False,
    test_clips: int = 1,
    test_crops: int = 1,
    test_crop: int = 224,
    test_short_side: int = 256,
    fps: float | None = None,
    frame_rate: float | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """Clips of `find`'s videos, decoded as they are asked for.

    By default one frame of each of `frames` segments, never mirrored (labels have directions), and
    one centre-crop clip to test on (Lin et al., 2019, whose TSM is in Table 4). See `Sampling`
    (`sampling` is its method) and `Crops` for the options. Accuracy is on the validation videos.
    """
    return stream(
        find(version, root),
        method=sampling,
        frames=frames,
        interval=interval,
        crop=crop,
        short_side=short_side,
        multi_scale=multi_scale,
        flip=flip,
        test_clips=test_clips,
        test_crops=test_crops,
        test_crop=test_crop,
        test_short_side=test_short_side,
        fps=fps,
        frame_rate=frame_rate,
    )


def find(version: Version, root: str | Path | None = None) -> Listing:
    """The videos in a folder, in the layout of a version's release.

    1: *train*.csv and *validation*.csv (id;label) and, if it is there, *labels*.csv, beside
    folders <id>/00001.jpg … anywhere below; frames may be numbered otherwise, all in one way.
    2: *train*.json, *validation*.json and *labels*.json, here or in `labels`, beside <id>.webm
    (or any other ending), or folders of frames, likewise. "jester": as 1.

    Raises:
        UserError: where an annotation file is missing or is not in its format.
    """
    name = "jester" if version == "jester" else f"something_v{version}"
    folder = data_root(
        name,
        root,
        f"{name}, or make a small one: python -m suites.data generate something_v1",
    )
    read = _read_v2 if version == 2 else _read_v1
    files = {part: _annotation(folder, word, version) for part, word in PARTS.items()}
    rows = {part: read(file) for part, file in files.items()}
    check_labels(folder, rows)
    labels_file = _find_annotation(folder, "labels", version)
    if labels_file is None:
        classes = tuple(sorted({label for part in rows.values() for _, label in part}))
    else:
        classes = _classes(labels_file)
    number = {label: index for index, label in enumerate(classes)}
    keys = {key for part in rows.values() for key, _ in part}
    are_folders = version != 2
    tree = search(folder, videos=keys if are_folders else ())
    present = _present(tree, keys)
    if not (present or are_folders):
        with_frames = search(folder, videos=keys)
        if found_frames := _present(with_frames, keys):
            tree, present, are_folders = with_frames, found_frames, True
    numbering, notes = RELEASE, list[str]()
    if are_folders:
        numbering, notes = folder_numbering(folder, present.values())
    found: dict[str, VideoFiles] = {}
    missing: list[str] = []
    films: dict[str, list[tuple[str, str]]] = {}
    for part in PARTS:
        names: dict[str, int] = {}
        films[part] = []
        for key, label in rows[part]:
            if label not in number:
                raise UserError(f"{labels_file} lacks the label {label!r} of video {key}.")
            if key in present:
                names[present[key]] = number[label]
                films[part].append((present[key], label))
            else:
                missing.append(key)
        ordered = tuple(sorted(names))
        labels_N = np.array([names[name] for name in ordered], np.int64)
        found[part] = VideoFiles(
            folder, ordered, labels_N, are_folders=are_folders, numbering=numbering
        )
    check_films(folder, films)
    left_out = tree.left_out if missing else ()
    synthetic = (folder / GENERATED_MARKER).is_file()
    listed = {part: len(of_part) for part, of_part in rows.items()}
    return Listing(
        name, folder, classes, found, tuple(missing), synthetic, left_out, tuple(notes), listed
    )


def _find_annotation(folder: Path, word: str, version: Version) -> Path | None:
    """something-something-v1-train.csv, train.json, labels/train.json and the like."""
    extension = "json" if version == 2 else "csv"
    release = "jester-v1" if version == "jester" else f"something-something-v{version}"
    places = (folder, folder / "labels", folder / "annotations")
    return one_file(places, word, extension, f"{release}-{word}.{extension}")


def _annotation(folder: Path, word: str, version: Version) -> Path:
    file = _find_annotation(folder, word, version)
    if file is None:
        extension = "json" if version == 2 else "csv"
        raise UserError(
            f"{folder} holds no *{word}*.{extension}: put the release's annotation files there."
        )
    return file


def _read_v1(file: Path) -> Rows:
    with open_annotations(file) as content:
        rows = [row for row in csv.reader(content, delimiter=";") if row]
    for row in rows:
        if len(row) != 2:
            raise UserError(f"{file}: expected lines id;label, not {';'.join(row)[:60]!r}.")
    return [(key, label) for key, label in rows]


def _read_v2(file: Path) -> Rows:
    rows = _json(file)
    try:
        # A template's placeholders stand in brackets, which labels.json leaves out.
        return [(str(row["id"]), row["template"].translate(_NO_BRACKETS)) for row in rows]
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{file}: expected a list of objects with id and template.") from error


_NO_BRACKETS = str.maketrans("", "", "[]")


def _classes(file: Path) -> tuple[str, ...]:
    if file.suffix == ".csv":
        with open_annotations(file) as content:
            lines = content.read().splitlines()
        return tuple(line for line in lines if line)
    numbers = _json(file)
    try:
        return tuple(sorted(numbers, key=lambda label: int(numbers[label])))
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: expected an object of label: number.") from error


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}.") from error


def _present(tree: Tree, keys: set[str]) -> dict[str, str]:
    """Id -> path from the folder, of the listed videos that are anywhere below it."""
    found: dict[str, list[str]] = {}
    for path in tree.videos:
        name = path.rpartition("/")[2]
        key = PurePosixPath(name).stem if is_video(name) else name
        if key in keys:
            found.setdefault(key, []).append(path)
    return {key: the_one(tree.root, key, paths) for key, paths in found.items()}
