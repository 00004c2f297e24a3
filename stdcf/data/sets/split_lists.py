"""UCF101, HMDB51 and JHMDB by their official lists of training and test clips."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stdcf.data.sets.annotations import check_labels, open_annotations
from stdcf.data.sets.places import the_one
from stdcf.data.sets.tree import LeftOut, check_films, search
from stdcf.errors import UserError

SPLITS = (1, 2, 3)

# Part -> (class, stem of the file).
Listed = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class ListedClips:
    """What the lists of a folder say, and which of it is there.

    Attributes:
        parts: "train" and "test" -> (class, name from the folder, posix).
        missing: <class>/<stem> of listed clips that are not there.
        unlisted: videos that no list of the split names.
        left_out: what is not read of the folder, of what may be meant.
        listed: part -> number of clips that the lists name.
    """

    root: Path
    classes: tuple[str, ...]
    parts: dict[str, list[tuple[str, str]]]
    missing: tuple[str, ...]
    unlisted: int
    left_out: tuple[LeftOut, ...]
    listed: Mapping[str, int]

    def notes(self, name: str) -> list[str]:
        """What a user should know of them."""
        if not self.missing:
            return []
        return [
            f"{len(self.missing)} listed clips of {name} are not there ({self.missing[0]}"
            f"{', …' if len(self.missing) > 1 else ''}); python -m suites.data verify {name} names "
            "all."
        ]


Read = Callable[[Path, int], "Listed | None"]


def find_listed(name: str, root: Path, split: int, read: Iterable[Read]) -> ListedClips:
    """The clips of an official split, anywhere below a folder, whatever their endings.

    read: each gives the lists of one form, or None where a folder has none.

    Raises:
        UserError: where there are no lists; for a clip under two labels or in both parts.
    """
    if split not in SPLITS:
        raise UserError(f"split={split}: choose 1, 2 or 3.")
    forms = (form(root, split) for form in read)
    listed = next((rows for rows in forms if rows and rows.get("train") and rows.get("test")), None)
    if listed is None:
        raise UserError(
            f"{root} holds no lists of {name}'s split {split}: put the official ones there "
            "(python -m suites.data list says which)."
        )
    # Two classes may have clips of one name.
    check_labels(
        root, {part: [(f"{c}/{stem}", c) for c, stem in rows] for part, rows in listed.items()}
    )
    classes = tuple(sorted({label for rows in listed.values() for label, _ in rows}))
    tree = search(root)
    there: dict[tuple[str, str], list[str]] = {}
    for file in tree.videos:
        path = PurePosixPath(file)
        there.setdefault((path.parent.name, path.stem), []).append(file)
        if path.parent.name not in classes:
            there.setdefault(("", path.stem), []).append(file)
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    missing = []
    for part, rows in parts.items():
        for label, stem in listed[part]:
            found = there.get((label, stem)) or there.get(("", stem))
            if found:
                rows.append((label, the_one(root, f"{label}/{stem}", found)))
            else:
                missing.append(f"{label}/{stem}")
        rows.sort()
    check_films(root, {part: [(n, label) for label, n in rows] for part, rows in parts.items()})
    number = sum(map(len, parts.values()))
    used = {PurePosixPath(file).parent for rows in parts.values() for _, file in rows}
    others = {PurePosixPath(file).parent for file in tree.videos} - used
    left_out = [LeftOut(str(folder), "its videos are in no list") for folder in sorted(others)]
    left_out += tree.left_out if missing else ()
    unlisted = len(tree.videos) - number
    counts = {part: len(listed[part]) for part in parts}
    return ListedClips(root, classes, parts, tuple(missing), unlisted, tuple(left_out), counts)


def part_lists(names: Mapping[str, str]) -> Read:
    """Lists of `class/clip`, one file a part, anywhere below: UCF101's trainlist01.txt.

    names: part -> the file's name, with {} for the split. A number after the clip is left alone.
    """

    def read(root: Path, split: int) -> Listed | None:
        listed: Listed = {}
        for part, name in names.items():
            file = _list_file(root, name.format(split))
            if file is None:
                return None
            listed[part] = [_class_and_clip(file, n, line) for n, line in _lines(file)]
        return listed

    return read


def class_lists(root: Path, split: int) -> Listed | None:
    """HMDB51's and JHMDB's <class>_test_split1.txt: a clip and 1 (train), 2 (test) or 0 a line."""
    files = [
        file
        for place in _places(root)
        for file in sorted(place.glob(f"*_test_split{split}.txt"))
        if not file.name.startswith(".")
    ]
    if not files:
        return None
    listed: Listed = {"train": [], "test": []}
    for file in files:
        label = file.name.removesuffix(f"_test_split{split}.txt")
        for number, line in _lines(file):
            match = re.fullmatch(r"(.+)\s+([012])", line)
            if match is None:
                raise UserError(
                    f"{file}, line {number}: expected a clip and 0, 1 or 2, not {line[:60]!r}."
                )
            if match[2] != "0":
                part = "train" if match[2] == "1" else "test"
                listed[part].append((label, _stem(match[1].strip())))
    return listed


def _places(root: Path) -> list[Path]:
    """The folder and those in it, as archives leave them."""
    below = [p for p in sorted(root.iterdir()) if p.is_dir() and not p.is_symlink()]
    return [root, *(place for place in below if not place.name.startswith("."))]


def _list_file(root: Path, name: str) -> Path | None:
    return next((p / name for p in _places(root) if (p / name).is_file()), None)


def _lines(file: Path) -> Iterable[tuple[int, str]]:
    with open_annotations(file) as content:
        for number, line in enumerate(content, 1):
            if line.strip():
                yield number, line.strip()


def _class_and_clip(file: Path, number: int, line: str) -> tuple[str, str]:
    match = re.fullmatch(r"([^/]+)/(\S.*?)(?:\s+\d+)?", line)
    if match is None:
        raise UserError(f"{file}, line {number}: expected class/clip, not {line[:60]!r}.")
    return match[1], _stem(match[2])


def _stem(clip: str) -> str:
    """Without the ending of a video; a clip's own name may hold dots."""
    stem, dot, ending = clip.rpartition(".")
    return stem if dot and re.fullmatch(r"avi|mp4|webm|mkv|mov", ending, re.IGNORECASE) else clip
