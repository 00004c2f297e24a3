"""What is broken or missing in a data set's folder."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stdcf.data.frames.cache import Progress
from stdcf.data.sets import kinetics, kth_sequences, something, video_folder, weizmann
from stdcf.data.sets.listing import Listing
from stdcf.data.sets.roots import data_root
from stdcf.data.video import frame_folder
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


def find_faults(
    name: str,
    root: Path | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[int, list[Fault]]:
    """(number of sound videos, faults) of a data set, by decoding every frame of every video.

    name: one of those in the error's list. Nothing is written, the cache included. A name in the
    data set's own lists that has no file counts as a fault, "missing".
    """
    if name not in _EXPECTED:
        raise UserError(f"Cannot verify {name!r}: choose {', '.join(_EXPECTED)}.")
    folder = data_root(name, root, "the data set")
    expected, faults = _EXPECTED[name](folder)
    with ThreadPoolExecutor(workers) as pool:
        for done, fault in enumerate(pool.map(_fault, expected), 1):
            file = expected[done - 1].file.relative_to(folder).as_posix()
            if fault:
                faults.append(Fault(file, fault))
            if progress:
                progress(done, len(expected), file)
    broken = {fault.file for fault in faults}
    sound = sum(item.file.relative_to(folder).as_posix() not in broken for item in expected)
    return sound, sorted(faults, key=lambda fault: fault.file)


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


def _kth(folder: Path) -> tuple[list[_Expected], list[Fault]]:
    videos = kth_sequences.read_sequences(folder)
    present = [
        _Expected(folder / video.file, max((last for _, last in video.ranges), default=1))
        for video in videos
        if (folder / video.file).is_file()
    ]
    return present, _missing(v.file for v in videos if not (folder / v.file).is_file())


def _weizmann(folder: Path) -> tuple[list[_Expected], list[Fault]]:
    found = weizmann.find_videos(folder)
    pairs = weizmann.missing_pairs({(person, action) for person, action, _ in found})
    return [_Expected(file) for _, _, file in found], _missing(f"{pair}.avi" for pair in pairs)


def _video_folder(folder: Path) -> tuple[list[_Expected], list[Fault]]:
    found = [_Expected(file) for _, file in video_folder.videos_by_class(folder)]
    if not found:
        raise UserError(f"No video in {folder}: expected <class>/<video>.")
    return found, []


def _listed(listing: Listing) -> tuple[list[_Expected], list[Fault]]:
    found = [
        _Expected(
            videos.root / name, count=frame_folder.check if videos.are_folders else count_frames
        )
        for videos in listing.files.values()
        for name in videos.names
    ]
    return found, _missing(listing.missing)


def _missing(files: Iterable[str]) -> list[Fault]:
    return [Fault(file, "missing") for file in files]


_EXPECTED: dict[str, Callable[[Path], tuple[list[_Expected], list[Fault]]]] = {
    "kth": _kth,
    "weizmann": _weizmann,
    "video_folder": _video_folder,
    "kinetics400": lambda folder: _listed(kinetics.find(folder)),
    "something_v1": lambda folder: _listed(something.find(1, folder)),
    "something_v2": lambda folder: _listed(something.find(2, folder)),
}
