"""Which files below a data set's folder are its videos: one rule for all sets (docs/data.md)."""

import os
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stdcf.errors import UserError, printable

# In small letters; files may have them in capitals.
VIDEO_ENDINGS = frozenset(
    [
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".f4v",
        ".flv",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mjpeg",
        ".mjpg",
        ".mkv",
        ".mod",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogm",
        ".ogv",
        ".qt",
        ".rm",
        ".rmvb",
        ".tod",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".wtv",
        ".y4m",
    ]
)
PICTURE_ENDINGS = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"])
# Beside videos for good reason, and no loss when not read.
_COMPANIONS = frozenset(
    [
        ".csv",
        ".db",
        ".doc",
        ".docx",
        ".html",
        ".ini",
        ".json",
        ".log",
        ".mat",
        ".md",
        ".npy",
        ".npz",
        ".pdf",
        ".pkl",
        ".py",
        ".sh",
        ".srt",
        ".thm",
        ".tsv",
        ".txt",
        ".vtt",
        ".xml",
        ".yaml",
        ".yml",
    ]
)

_ARCHIVES = frozenset([".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"])

LINKED = "a linked folder, which is not searched: give its real place, or move it here"
HIDDEN = "hidden by the dot of its name: rename it"
PICTURES = "pictures, which are not read here: make a video file of each series"
ARCHIVE = "an archive: unpack it"
NO_VIDEO = "its ending is not a video's: rename or convert it"


@dataclass(frozen=True)
class LeftOut:
    """Something in a data set's folder that is not read: its name (posix, from the root), why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Tree:
    """What lies below a folder, as names from it (posix).

    Attributes:
        videos: in the order of their parts.
        folders: that were searched, without the root.
        left_out: what might be meant as a video and is not read.
    """

    root: Path
    videos: tuple[str, ...]
    folders: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    def linked(self) -> str:
        """What to add to a message of a video that is not there; empty without linked folders."""
        return summary([item for item in self.left_out if item.reason in (LINKED, HIDDEN)])


def _ending(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    return f".{ending.lower()}" if stem else ""


def is_video(name: str) -> bool:
    """By its ending, small or capital; a name with a dot in front is hidden."""
    return not name.startswith(".") and _ending(name) in VIDEO_ENDINGS


def search(root: Path, videos: Collection[str] = ()) -> Tree:
    """Everything below a folder. Files may be links; folders that are links are not searched.

    videos: names of folders, or their paths from the root, that are each a video, as frames; they
    are not looked into, and may be links.

    Raises:
        UserError: for a folder that cannot be read.
    """
    found: list[str] = []
    folders: list[str] = []
    left_out: list[LeftOut] = []

    def fail(error: OSError) -> None:
        raise UserError(f"Cannot read the folder {error.filename}: {error.strerror}.") from error

    # Not Path.rglob, which takes ten times as long for a quarter of a million files.
    for parent, below, files in os.walk(root, onerror=fail):
        place = os.path.relpath(parent, root).replace(os.sep, "/")
        prefix = "" if place == "." else f"{place}/"
        folders += [place] if prefix else []
        searched = []
        for name in sorted(below):
            if name in videos or prefix + name in videos:
                found.append(prefix + name)
            elif Path(parent, name).is_symlink():
                left_out.append(LeftOut(prefix + name, LINKED))
            elif not name.startswith("."):
                searched.append(name)
            elif _holds_video(Path(parent, name)):
                left_out.append(LeftOut(prefix + name, HIDDEN))
        below[:] = searched
        sorted_out, pictures = _of_folder(parent, prefix, files, found)
        left_out += sorted_out
        if pictures and prefix:
            left_out.append(LeftOut(place, PICTURES))
    found.sort(key=lambda name: name.split("/"))
    return Tree(root, tuple(found), tuple(folders), tuple(left_out))


def _of_folder(
    parent: str, prefix: str, files: Iterable[str], found: list[str]
) -> tuple[list[LeftOut], bool]:
    """Adds a folder's videos to `found`; what is left out of it, and whether it has pictures."""
    left_out, pictures, has_video = [], False, False
    for name in sorted(files):
        ending = _ending(name)
        if name.startswith("."):
            # ._name is what macOS leaves beside a file on foreign disks.
            if ending in VIDEO_ENDINGS and not name.startswith("._"):
                left_out.append(LeftOut(prefix + name, HIDDEN))
        elif ending in VIDEO_ENDINGS:
            if Path(parent, name).is_file():
                found.append(prefix + name)
                has_video = True
            else:
                left_out.append(LeftOut(prefix + name, "no file, or a link that leads nowhere"))
        elif ending in PICTURE_ENDINGS:
            pictures = True
        elif ending in _ARCHIVES:
            if not (prefix or Path(parent, name.partition(".")[0]).is_dir()):
                left_out.append(LeftOut(name, ARCHIVE))
            elif prefix:
                left_out.append(LeftOut(prefix + name, ARCHIVE))
        elif ending not in _COMPANIONS and prefix:
            left_out.append(LeftOut(prefix + name, NO_VIDEO))
    # A picture beside videos is their preview.
    return left_out, pictures and not has_video


def _holds_video(folder: Path) -> bool:
    return any(is_video(name) for _, _, files in os.walk(folder) for name in files)


def summary(left_out: Sequence[LeftOut]) -> str:
    """One line of what is left out, by reason, each with its first two names; may be empty."""
    reasons: dict[str, list[str]] = {}
    for item in left_out:
        reasons.setdefault(item.reason, []).append(item.name)
    parts = [
        f"{', '.join(names[:2])}{f' and {len(names) - 2} more' if len(names) > 2 else ''} "
        f"({reason})"
        for reason, names in reasons.items()
    ]
    return printable(f"Left out: {'; '.join(parts)}.") if parts else ""


def notes(left_out: Sequence[LeftOut]) -> list[str]:
    """`summary` as notes."""
    text = summary(left_out)
    return [text] if text else []


def check_films(root: Path, parts: Mapping[str, Iterable[tuple[str, str]]]) -> None:
    """Of each part its (name, label): a film has one label and is in one part, whatever its name.

    A film is a file on the disk: links to one, symbolic or hard, are the same film.

    Raises:
        UserError: naming the first one that has two.
    """
    known: dict[tuple[int, int], tuple[str, str, str]] = {}
    for part, pairs in parts.items():
        for name, label in pairs:
            try:
                status = (root / name).stat()
            except OSError:
                continue
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                continue
            here = (name, label, part)
            before = known.setdefault((status.st_dev, status.st_ino), here)
            if before[1:] == here[1:]:
                continue
            where = name if name == before[0] else f"{before[0]} and {name}"
            was, now = (
                (f"the class {before[1]!r}", f"the class {label!r}")
                if before[1] != label
                else (before[2], part)
            )
            raise UserError(
                f"One film in {root}, {where}, is in {was} and in {now}: "
                "keep one of the two, or cut the film."
            )
