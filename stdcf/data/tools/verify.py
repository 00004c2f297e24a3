"""What is broken or missing in a data set's folder."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stdcf.data.frames.cache import Progress
from stdcf.data.sets import (
    diving48,
    epic,
    kinetics,
    kth_sequences,
    official_splits,
    something,
    video_list,
    weizmann,
)
from stdcf.data.sets.class_folders import find_classes
from stdcf.data.sets.listing import Listing
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.tree import LeftOut, check_films, search, summary
from stdcf.data.video.decode import BrokenVideo, count_frames
from stdcf.errors import UserError


@dataclass(frozen=True)
class Fault:
    """One file (posix, relative to the root) and what is wrong with it."""

    file: str
    reason: str


@dataclass(frozen=True)
class _Expected:
    """A file, the frames that it must have at least, and what counts them by decoding all."""

    file: Path
    frames: int = 1
    count: Callable[[Path], int] = count_frames


@dataclass(frozen=True)
class Verdict:
    """A data set's number of sound videos, its faults, and what in its folder is not read."""

    sound: int
    faults: list[Fault]
    left_out: list[LeftOut]


_Found = tuple[list[_Expected], list[Fault], Sequence[LeftOut]]


def find_faults(
    name: str,
    root: Path | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[int, list[Fault]]:
    """(number of sound videos, faults): see `verify`."""
    verdict = verify(name, root, workers=workers, progress=progress)
    return verdict.sound, verdict.faults


def verify(
    name: str,
    root: Path | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """What is sound, broken and not read of a data set, by decoding every frame of every video.

    name: one of those in the error's list. options: the data set's own that say which videos it
    has (video_list's train, test and classes). Nothing is written, the cache included. A name in
    the data set's own lists that has no file counts as a fault, "missing".
    """
    if name not in _EXPECTED:
        raise UserError(f"Cannot verify {name!r}: choose {', '.join(_EXPECTED)}.")
    folder = data_root(name, root, "the data set")
    given = dict(options or {})
    known = list(inspect.signature(_EXPECTED[name]).parameters)[1:]
    for option in given:
        if option not in known:
            words = f"its options are {', '.join(known)}" if known else "it has none"
            raise UserError(f"{name} is verified without an option {option!r}; {words}.")
    expected, faults, left_out = _EXPECTED[name](folder, **given)
    with ThreadPoolExecutor(workers) as pool:
        for done, fault in enumerate(pool.map(_fault, expected), 1):
            file = expected[done - 1].file.relative_to(folder).as_posix()
            if fault:
                faults.append(Fault(file, fault))
            if progress:
                progress(done, len(expected), file)
    broken = {fault.file for fault in faults}
    sound = sum(item.file.relative_to(folder).as_posix() not in broken for item in expected)
    return Verdict(sound, sorted(faults, key=lambda fault: fault.file), list(left_out))


def _fault(expected: _Expected) -> str | None:
    try:
        frames = expected.count(expected.file)
    except BrokenVideo as error:
        return error.reason
    except UserError as error:
        return str(error)
    if frames < expected.frames:
        return f"{frames} frames, but 00sequences.txt annotates {expected.frames}"
    return None


def _kth(folder: Path) -> _Found:
    videos = kth_sequences.read_sequences(folder)
    tree = search(folder)
    there = kth_sequences.locate(tree, videos)
    present = [
        _Expected(folder / there[video.name], max((last for _, last in video.ranges), default=1))
        for video in videos
        if video.name in there
    ]
    missing = _missing(video.file for video in videos if video.name not in there)
    return present, missing, tree.left_out


def _weizmann(folder: Path) -> _Found:
    found, left_out = weizmann.find_videos(folder)
    check_films(
        folder,
        {"Weizmann": [(file.relative_to(folder).as_posix(), f"{p}_{a}") for p, a, file in found]},
    )
    pairs = weizmann.missing_pairs({(person, action) for person, action, _ in found})
    missing = _missing(f"{pair}.avi" for pair in pairs)
    return [_Expected(file) for _, _, file in found], missing, left_out


def _video_folder(folder: Path) -> _Found:
    found = find_classes(folder)
    parts = {part: [(name, label) for label, name in rows] for part, rows in found.parts.items()}
    check_films(folder, parts)
    names = [name for rows in parts.values() for name, _ in rows]
    if not names:
        told = summary(found.left_out)
        raise UserError(f"No video in {folder}: expected <class>/<video>.{told and ' ' + told}")
    return [_Expected(folder / name) for name in names], [], found.left_out


def _official(name: str, folder: Path, split: int = 1) -> _Found:
    """Of a split, whose two parts are nearly all clips."""
    found = official_splits.find(name, folder, split)
    names = [file for rows in found.parts.values() for _, file in rows]
    return [_Expected(folder / file) for file in names], _missing(found.missing), found.left_out


def _listed(listing: Listing) -> _Found:
    found = [
        _Expected(videos.root / name, count=partial(videos.check, index))
        for videos in listing.files.values()
        for index, name in enumerate(videos.names)
    ]
    return found, _missing(listing.missing), listing.left_out


def _missing(files: Iterable[str]) -> list[Fault]:
    return [Fault(file, "missing") for file in files]


def _kinetics(name: str, folder: Path) -> _Found:
    return _listed(kinetics.find(folder, name))


def _video_list(
    folder: Path, train: str | None = None, test: str | None = None, classes: str | None = None
) -> _Found:
    return _listed(video_list.find(folder, train=train, test=test, classes=classes))


_EXPECTED: dict[str, Callable[..., _Found]] = {
    "kth": _kth,
    "weizmann": _weizmann,
    "video_folder": _video_folder,
    **{name: partial(_official, name) for name in official_splits.FORMS},
    "video_list": _video_list,
    **{name: partial(_kinetics, name) for name in kinetics.NAMES},
    "something_v1": lambda folder: _listed(something.find(1, folder)),
    "something_v2": lambda folder: _listed(something.find(2, folder)),
    "jester": lambda folder: _listed(something.find("jester", folder)),
    "diving48": lambda folder: _listed(diving48.find(folder)),
    "epic100": lambda folder: _listed(epic.find(folder)),
}
