"""Videos that come as a folder of pictures, 00001.jpg and on, as Something-Something v1 does."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stdcf.data.video.decode import BrokenVideo
from stdcf.data.video.seek import Choose, Keep, whole

_NAME = re.compile(r"(.*?)(\d+)(\.(?:jpe?g|png|bmp|webp))", re.IGNORECASE)
# In place of a folder's own name.
_FOLDER = "<folder>"
# TSN's extractor writes optical flow beside the pictures.
_FLOW = re.compile(r"flow|^[xy]_?$", re.IGNORECASE)


@dataclass(frozen=True)
class Numbering:
    """How frames are named: prefix, number, ending.

    Attributes:
        prefix: "<folder>" in it stands for the folder's own name, as Charades and AVA have it.
        digits: that a number is padded to.
        first: number of the first frame.
    """

    prefix: str = ""
    digits: int = 5
    ending: str = ".jpg"
    first: int = 1

    def of(self, folder: Path) -> "Numbering":
        """Of the frames in one folder."""
        return replace(self, prefix=self.prefix.replace(_FOLDER, folder.name))

    def name(self, index: int) -> str:
        """File of the frame with this index, counted from 0."""
        return f"{self.prefix}{self.first + index:0{self.digits}d}{self.ending}"

    def number(self, name: str) -> int | None:
        """The number in a file's name; None for a file of another name."""
        match = _NAME.fullmatch(name)
        if match is None or (match[1], match[3]) != (self.prefix, self.ending):
            return None
        number = int(match[2])
        return number if f"{number:0{self.digits}d}" == match[2] else None


# Something-Something v1's own.
RELEASE = Numbering()


def find_numbering(folders: Iterable[Path]) -> Numbering:
    """How the frames of a set are named: as in most of some of its folders.

    Raises:
        BrokenVideo: for a folder with two series of frames.
    """
    found = [(folder, kind) for folder in folders if (kind := _numbering(folder)) is not None]
    kinds = Counter(kind for _, kind in found)
    kinds |= Counter(_after_folder(kind, folder) for folder, kind in found)
    # Of equally many, the one that begins first: another may lack its beginning.
    return max(kinds, key=lambda kind: (kinds[kind], -kind.first), default=RELEASE)


def _after_folder(kind: Numbering, folder: Path) -> Numbering:
    """With a sign for the folder's own name, if the prefix begins with it."""
    rest = kind.prefix.removeprefix(folder.name)
    if rest == kind.prefix or rest[:1].isalnum():
        return kind
    return replace(kind, prefix=_FOLDER + rest)


def _numbering(folder: Path) -> Numbering | None:
    series: dict[tuple[str, str], list[str]] = {}
    for name in _names(folder):
        match = _NAME.fullmatch(name)
        if match and not _FLOW.search(match[1]) and not name.startswith("."):
            series.setdefault((match[1], match[3]), []).append(match[2])
    if not series:
        return None
    most = max(map(len, series.values()))
    longest = [key for key, numbers in series.items() if len(numbers) == most]
    if len(longest) > 1:
        names = [f"{prefix}{series[prefix, end][0]}{end}" for prefix, end in longest[:2]]
        raise BrokenVideo(folder, f"two series of frames, {names[0]} … and {names[1]} …")
    numbers = series[longest[0]]
    padded = {len(number) for number in numbers if number[0] == "0" and len(number) > 1}
    digits = max(padded) if padded else 1
    return Numbering(longest[0][0], digits, longest[0][1], min(map(int, numbers)))


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []


def count_frames(folder: Path, numbering: Numbering = RELEASE) -> int:
    """Frames of a folder, by their names alone.

    Raises:
        BrokenVideo: if there is none, or a number is missing between the first and the last.
    """
    if not folder.is_dir():
        raise BrokenVideo(folder, "no such folder")
    names, numbering = _names(folder), numbering.of(folder)
    numbers = sorted({n for n in map(numbering.number, names) if n is not None})
    numbers = [number for number in numbers if number >= numbering.first]
    if not numbers:
        pictures = sorted(name for name in names if _NAME.fullmatch(name))
        seen = f": it holds {pictures[0]}" if pictures else ""
        raise BrokenVideo(folder, f"no frame {numbering.name(0)}{seen}")
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match[1] == numbering.prefix and numbering.number(name) is None:
            raise BrokenVideo(folder, f"{name} is not named as {numbering.name(0)} is")
    for index, number in enumerate(numbers):
        if number != numbering.first + index:
            raise BrokenVideo(folder, f"frame {numbering.name(index)} is missing")
    return len(numbers)


def read_frames(
    folder: Path,
    choose: Choose,
    keep: Keep = whole,
    numbering: Numbering = RELEASE,
    part: tuple[int, int] | None = None,
) -> tuple[list[Any], np.ndarray]:
    """Frames of a folder, each read once; see `stdcf.data.video.seek.read_frames`.

    part: (offset, number) of the frames that there are for `choose`; None: all.
    """
    numbering = numbering.of(folder)
    first, number = _part(folder, count_frames(folder, numbering), part)
    chosen = first + choose(number)
    wanted, position = np.unique(chosen, return_inverse=True)
    shape: tuple[int, ...] | None = None
    found = []
    for index in wanted.tolist():
        frame_HWC = _read(folder / numbering.name(index))
        shape = shape or frame_HWC.shape
        if frame_HWC.shape != shape:
            raise BrokenVideo(folder, f"frame {numbering.name(index)} is of another size")
        found.append(keep(frame_HWC))
    return found, position.reshape(chosen.shape)


def check(folder: Path, numbering: Numbering = RELEASE, part: tuple[int, int] | None = None) -> int:
    """Frames of a folder whose every picture can be read; BrokenVideo names one that cannot."""
    numbering = numbering.of(folder)
    first, number = _part(folder, count_frames(folder, numbering), part)
    for index in range(first, first + number):
        _read(folder / numbering.name(index))
    return number


def _part(folder: Path, count: int, part: tuple[int, int] | None) -> tuple[int, int]:
    first, number = part or (0, count)
    if first < 0:
        raise BrokenVideo(folder, f"its list begins {-first} frames before the first one there")
    if first + number > count or number < 1:
        raise BrokenVideo(
            folder, f"it holds {count} frames, and its list names {first + number} from the first"
        )
    return first, number


def _read(file: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        # Pillow's own message holds the whole path.
        kind = "JPEG" if file.suffix.lower() in (".jpg", ".jpeg") else "picture"
        how = f"no {kind}" if "identify" in str(error) else str(error)
        raise BrokenVideo(file.parent, f"frame {file.name}: {how}") from error
