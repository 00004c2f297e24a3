"""Kinetics-400 (Kay et al., 2017), -600, -700: annotations in CSV, or one folder a class."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from stdcf.data.clips.crops import SHORT_SIDE
from stdcf.data.clips.splits import VideoData
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.annotations import check_labels
from stdcf.data.sets.class_folders import TEST_NAMES, find_classes
from stdcf.data.sets.kinetics_lists import COLUMNS, Lists, read_lists
from stdcf.data.sets.listing import GENERATED_MARKER, Listing, stream
from stdcf.data.sets.places import Places, by_path, the_one
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.segments import Segment, check_segments, segment_files, segment_notes
from stdcf.data.sets.tree import Tree, check_films, search
from stdcf.errors import UserError

NAME = "kinetics400"
NAMES = (NAME, "kinetics600", "kinetics700")
# The official test part comes last: its labels were not published.
PREFERRED = tuple(sorted(TEST_NAMES, key=lambda name: name.startswith("test")))


def load(
    root: str | Path | None = None,
    *,
    frames: int = 8,
    interval: int = 8,
    sampling: str = "dense",
    crop: int = 224,
    short_side: Sequence[int] = SHORT_SIDE,
    multi_scale: Sequence[float] = (),
    flip: bool = True,
    test_clips: int = 10,
    test_crops: int = 3,
    test_crop: int = 256,
    test_short_side: int = 256,
    fps: float | None = None,
    name: str = NAME,
    progress: Progress | None = None,
) -> VideoData:
    """Clips of `find`'s videos, decoded as they are asked for; the defaults are the paper's (§3.2).

    See `Sampling` (`sampling` is its method) and `Crops` for the options. Training is on the
    training videos, accuracy on the validation videos.
    """
    return stream(
        find(root, name),
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
    )


def find(root: str | Path | None = None, name: str = NAME) -> Listing:
    """The videos in a folder.

    With CSV files in it or in its `annotations` (columns label, youtube_id, time_start, time_end,
    split): <id>_<start>_<end>.mp4 (or mkv, avi, webm …; six digits each), or <id>.mp4, out of which
    the segment is cut by its times if it is longer; anywhere below it. With lists of `path label`
    or `path,label`: these files. Without: train/<class>/<video> beside val/<class>/<video>.

    Raises:
        UserError: where there is none of these; for a film under two labels or in two parts.
    """
    folder = data_root(
        name,
        root,
        f"{name}'s videos and CSV files, or make a small one: python -m suites.data generate "
        f"{NAME}",
    )
    lists = read_lists(folder, PREFERRED)
    if not lists.rows:
        return _folder_tree(name, folder, lists)
    check_labels(folder, {part: [(k, label) for label, k in r] for part, r in lists.rows.items()})
    tree = search(folder)
    places = by_path(tree) if lists.are_paths else _by_id(tree)
    found: dict[str, list[Segment]] = {"train": [], "test": []}
    missing: list[str] = []
    for part, pairs in found.items():
        for label, key in lists.rows.get(part, ()):
            file = places(key)
            if file is None:
                missing.append(key)
                continue
            is_film = not lists.are_paths and PurePosixPath(file).stem != key
            pairs.append(Segment(file, label, _times(key) if is_film else None))
    check_segments(folder, found, may_be_cut=True)
    classes = tuple(sorted({label for part in lists.rows.values() for label, _ in part}))
    if lists.are_paths:
        classes = lists.class_names()
    number = {label: index for index, label in enumerate(classes)}
    files = {
        part: segment_files(folder, segments, number, may_be_cut=True)
        for part, segments in found.items()
    }
    notes = [*lists.notes, *segment_notes(found)]
    # What is not read matters where something lacks.
    left_out = (*lists.left_out, *(tree.left_out if missing else ()))
    synthetic = (folder / GENERATED_MARKER).is_file()
    listed = {part: len(lists.rows.get(part, ())) for part in files}
    return Listing(
        name, folder, classes, files, tuple(missing), synthetic, left_out, tuple(notes), listed
    )


def _times(key: str) -> tuple[float, float]:
    """Seconds of <id>_<start>_<end>."""
    return float(key[-13:-7]), float(key[-6:])


def _by_id(tree: Tree) -> Places:
    """From <id>_<start>_<end> to the file of that name, or of <id>'s."""
    files: dict[str, list[str]] = {}
    for name in tree.videos:
        files.setdefault(PurePosixPath(name).stem, []).append(name)

    def place(key: str) -> str | None:
        found = files.get(key) or files.get(key[:-14])
        return the_one(tree.root, key, found) if found else None

    return place


def _stem(name: str) -> str:
    """<id>_<start>_<end> of a file that is called so, else nothing."""
    stem = PurePosixPath(name).stem
    return stem if re.fullmatch(r".{11}_\d{6}_\d{6}", stem) else ""


def _folder_tree(set_name: str, folder: Path, lists: Lists) -> Listing:
    found = find_classes(folder, test_names=PREFERRED)
    if not found.is_split:
        if lists.lacking:
            raise UserError(lists.lacking)
        raise UserError(
            f"{folder} holds neither a CSV file with {', '.join(COLUMNS)}, split nor "
            "train/<class>/<video> beside val/<class>/<video>."
        )
    pairs = {part: [(name, label) for label, name in rows] for part, rows in found.parts.items()}
    check_films(folder, pairs)
    clips = {p: [(_stem(n), label) for n, label in r if _stem(n)] for p, r in pairs.items()}
    check_labels(folder, clips)
    classes = tuple(sorted({label for part in pairs.values() for _, label in part}))
    number = {label: index for index, label in enumerate(classes)}
    files = {
        part: segment_files(folder, [Segment(name, label) for name, label in rows], number)
        for part, rows in pairs.items()
    }
    synthetic = (folder / GENERATED_MARKER).is_file()
    left_out = (*lists.left_out, *found.left_out)
    return Listing(set_name, folder, classes, files, (), synthetic, left_out)
