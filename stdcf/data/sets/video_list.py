"""Anyone's own videos, or frames of them, by lists of `path label`."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stdcf.data.clips.crops import SHORT_SIDE
from stdcf.data.clips.splits import VideoData, check_options
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.class_folders import TEST_NAMES, TRAIN_NAMES, part_named
from stdcf.data.sets.films import drawn_note, drawn_parts, film_note
from stdcf.data.sets.label_lists import LabelList, check_numbers, read_classes, read_list
from stdcf.data.sets.listing import GENERATED_MARKER, Listing, folder_numbering, stream
from stdcf.data.sets.places import by_path
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.segments import Segment, check_segments, segment_files, segment_notes
from stdcf.data.sets.tree import Tree, check_films, is_video, notes, search
from stdcf.data.sets.whole_videos import decoded_clips
from stdcf.data.video.frame_folder import RELEASE
from stdcf.errors import UserError

NAME = "video_list"
_LISTS = (".txt", ".csv", ".tsv", ".lst")
_DEFAULTS: dict[str, Any] = {"clip_frames": 16, "channels": 1, "train_step": 4, "test_step": 16}


def load(
    root: str | Path | None = None,
    *,
    train: str | None = None,
    test: str | None = None,
    classes: str | None = None,
    test_fraction: float = 0.3,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    clip_frames: int = 16,
    channels: int = 1,
    train_step: int = 4,
    test_step: int = 16,
    frames: int = 8,
    interval: int = 8,
    sampling: str = "dense",
    crop: int = 224,
    short_side: Sequence[int] = SHORT_SIDE,
    flip: bool = True,
    multi_scale: Sequence[float] = (),
    test_clips: int = 10,
    test_crops: int = 3,
    test_crop: int = 256,
    test_short_side: int = 256,
    fps: float | None = None,
    frame_rate: float | None = None,
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """The videos of `find`'s lists.

    With `size` (height, width) whole frames are scaled to it and kept decoded, and clips of
    `clip_frames` are cut every train_step or test_step frames, as of `video_folder`. Without it
    clips are decoded as they are asked for, as of `kinetics400`, with the options from `frames` on.

    Raises:
        UserError: see `find`; for an option of the other way; where a part has no video.
    """
    found = find(
        root, train=train, test=test, classes=classes, test_fraction=test_fraction, seed=seed
    )
    if size is None:
        given = {
            "clip_frames": clip_frames,
            "channels": channels,
            "train_step": train_step,
            "test_step": test_step,
        }
        for name, value in given.items():
            if value != _DEFAULTS[name]:
                raise UserError(f"{name}={value} is for clips of whole frames: give size too.")
        return stream(
            found,
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
    if frame_rate is not None:
        raise UserError(f"frame_rate={frame_rate:g} is for folders of frames: give no size.")
    check_options(size, clip_frames, train_step, test_step)
    return _whole_frames(
        found,
        size=size,
        clip_frames=clip_frames,
        channels=channels,
        train_step=train_step,
        test_step=test_step,
        fps=fps,
        workers=workers,
        cache_dir=cache_dir,
        progress=progress,
    )


def _whole_frames(found: Listing, **options: Any) -> VideoData:
    parts: dict[str, list[tuple[str, str]]] = {}
    for part, videos in found.files.items():
        if videos.are_folders:
            raise UserError(
                f"{found.root} holds folders of frames: give no size, or take a suite that decodes "
                "clips as they come (kinetics_table3, something_table4)."
            )
        if videos.spans is not None:
            raise UserError(
                f"The lists of {found.root} name segments: give no size, or take a suite that "
                "decodes clips as they come (kinetics_table3, something_table4)."
            )
        labels = [found.classes[label] for label in videos.labels]
        parts[part] = list(zip(labels, videos.names, strict=True))
        if not videos.names:
            raise UserError(found.lacking(part))
    told = [*found.notes, *found.missing_notes(), *notes(found.left_out)]
    return decoded_clips(
        NAME,
        found.root,
        found.classes,
        parts,
        options={},
        notes=told,
        listed=found.listed,
        **options,
    )


def find(
    root: str | Path | None = None,
    *,
    train: str | None = None,
    test: str | None = None,
    classes: str | None = None,
    test_fraction: float = 0.3,
    seed: int = 0,
) -> Listing:
    """The videos of two lists (see `label_lists`), anywhere below a folder.

    Paths may come from another machine: the file of which most last parts agree is taken.

    Args:
        train, test: the lists, by names from the folder. Without both of them, train.txt and
            test.txt (or val, csv …) in the folder or in its `annotations`. Without `test`, or with
            one list alone, test_fraction of each class is drawn by a hash of seed and name; clips
            of one film stay together.
        classes: names of the classes by number (see `read_classes`); without it numbers are names.

    Raises:
        UserError: where there is no list; for a wrong line; for a video under two labels or in both
            parts; for a path that two videos may be.
    """
    if not 0 < test_fraction < 1:
        raise UserError(f"test_fraction={test_fraction}: give a number between 0 and 1.")
    folder = data_root(NAME, root, "the videos of a list `path label`")
    lists = _lists(folder, train, test)
    if not classes:
        check_numbers([*lists.values()])
    names = _names(folder / classes if classes else None, lists)
    tree, are_folders = _tree(folder, [path for found in lists.values() for path in found.paths])
    place = by_path(tree)
    if not are_folders and any(
        f.frames and not f.by_number and any(n for n, _ in f.frames) for f in lists.values()
    ):
        raise UserError(
            f"The lists of {folder} name parts of folders of frames, and it holds video files: "
            "give times in seconds, by a header path,label,start,end."
        )
    rows: dict[str, list[Segment]] = {}
    missing: list[str] = []
    listed: dict[str, int] = {}
    for part, found in lists.items():
        listed[part] = len(found.paths)
        rows[part] = []
        for number, path in enumerate(found.paths):
            video = place(path)
            if video is None:
                missing.append(path)
                continue
            label = names.get(found.labels[number], found.labels[number])
            span = found.spans[number] if found.spans else None
            frames = found.frames[number] if found.frames and are_folders else None
            rows[part].append(Segment(video, label, span, frames))
    told: list[str] = []
    if "test" not in rows:
        pairs = [(s.label, s.video) for s in rows["train"]]
        check_films(folder, {"the list": [(video, label) for label, video in pairs]})
        tested = {name for _, name in drawn_parts(pairs, test_fraction, seed)["test"]}
        told.append(drawn_note(pairs, test_fraction, seed))
        everything = rows["train"]
        rows = {
            "train": [row for row in everything if row.video not in tested],
            "test": [row for row in everything if row.video in tested],
        }
        listed = {part: len(of_part) for part, of_part in rows.items()}
        listed["train"] += len(missing)
    check_segments(folder, rows)
    told += film_note(*([row.video for row in rows[part]] for part in ("train", "test")))
    told += segment_notes(rows)
    numbering = RELEASE
    if are_folders:
        numbering, more = folder_numbering(folder, (r.video for rs in rows.values() for r in rs))
        told += more
        for part, of_part in rows.items():
            if lists.get(part, lists["train"]).by_number:
                rows[part] = [_counted(row, numbering.first) for row in of_part]
    order = _order(lists, names)
    number_of = {label: index for index, label in enumerate(order)}
    files = {
        part: segment_files(
            folder, rows[part], number_of, are_folders=are_folders, numbering=numbering
        )
        for part in ("train", "test")
    }
    left_out = tree.left_out if missing else ()
    synthetic = (folder / GENERATED_MARKER).is_file()
    return Listing(
        NAME, folder, order, files, tuple(missing), synthetic, left_out, tuple(told), listed
    )


def _counted(segment: Segment, first: int) -> Segment:
    """With its frames counted from the first, for a list that gives the number in its name."""
    assert segment.frames is not None
    number, frames = segment.frames
    return segment._replace(frames=(number - first, frames))


def _lists(folder: Path, train: str | None, test: str | None) -> dict[str, LabelList]:
    """ "train" and, if there is one, "test" -> list."""
    if train is None and test is not None:
        raise UserError("test= is given without train=: give both lists, or train alone.")
    if train is None:
        found = _by_names(folder)
    else:
        found = {"train": folder / train}
        if test is not None:
            found["test"] = folder / test
    for file in found.values():
        if not file.is_file():
            raise UserError(f"No list {file}: give its name from {folder}, as train=lists/a.txt.")
    lists = {part: read_list(file) for part, file in found.items()}
    if "test" not in lists and lists["train"].parts:
        return _by_parts(lists["train"])
    return lists


def _by_names(folder: Path) -> dict[str, Path]:
    """Lists in a folder or in its `annotations` whose names say their part."""
    found: dict[str, Path] = {}
    places = [folder, folder / "annotations", folder / "lists", folder / "splits"]
    for file in sorted(file for place in places for file in place.glob("*.*")):
        part = part_named(file.stem) if file.suffix.lower() in _LISTS else None
        if part is not None and not file.name.startswith("."):
            other = found.setdefault(part, file)
            if other != file:
                raise UserError(
                    f"{other.name} and {file.name} in {folder} may both be the {part} list: give "
                    "--data-option train=FILE and test=FILE."
                )
    test = next((name for name in TEST_NAMES if name in found), None)
    if "train" not in found:
        raise UserError(
            f"{folder} holds no train.txt (lines `path label`): give --data-option train=FILE and "
            "test=FILE."
        )
    return {"train": found["train"], **({"test": found[test]} if test else {})}


def _by_parts(whole: LabelList) -> dict[str, LabelList]:
    """The two parts of a list that names them, row by row."""
    named = [part_named(part) or "" for part in whole.parts]
    test = next((name for name in TEST_NAMES if name in named), None)
    if "train" not in named or test is None:
        raise UserError(
            f"{whole.file}: its rows are of the parts {', '.join(sorted(set(whole.parts)))}; some "
            f"must be of {' or '.join(TRAIN_NAMES)}, some of test, val or the like."
        )
    lists = {"train": LabelList(whole.file), "test": LabelList(whole.file)}
    for number, part in enumerate(named):
        if part in ("train", test):
            lists["train" if part == "train" else "test"].add(
                (
                    whole.paths[number],
                    whole.labels[number],
                    whole.frames[number] if whole.frames else None,
                    whole.spans[number] if whole.spans else None,
                    None,
                )
            )
    return lists


def _names(file: Path | None, lists: Mapping[str, LabelList]) -> dict[str, str]:
    """Number -> name; UserError for a label without one."""
    if file is None:
        return {}
    if not file.is_file():
        raise UserError(f"No file {file} of classes: give its name from the data's folder.")
    names = read_classes(file)
    known = {*names, *names.values()}
    for found in lists.values():
        for label in set(found.labels):
            if label not in known and str(int(label) if label.isdecimal() else "") not in known:
                raise UserError(f"{file} lacks the class {label!r} of {found.file.name}.")
    return names


def _order(lists: Mapping[str, LabelList], names: Mapping[str, str]) -> tuple[str, ...]:
    """The classes: by number, or names in their order."""
    if names:
        return tuple(names[number] for number in sorted(names, key=int))
    labels = {label for found in lists.values() for label in found.labels}
    if all(label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))


def _tree(folder: Path, paths: Collection[str]) -> tuple[Tree, bool]:
    """What is there, and whether the lists name folders of frames.

    A folder is one if the lists name it by its path from the root; where none is named so, by its
    own name, for lists from another machine.
    """
    tree = search(folder)
    if any(is_video(path.rpartition("/")[2]) for path in paths):
        return tree, False
    keys = {path.strip("/").removeprefix("./") for path in paths}
    stems = {video.rpartition(".")[0].rpartition("/")[2] for video in tree.videos}
    if any(key.rpartition("/")[2] in stems for key in keys):
        return tree, False
    named = keys & set(tree.folders) or {key.rpartition("/")[2] for key in keys}
    return search(folder, videos=named), True
