"""Folders that are classes, and folders that are the parts of a set, told from each other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from stdcf.data.sets.places import normal
from stdcf.data.sets.tree import LeftOut, Tree, search
from stdcf.errors import UserError

TRAIN_NAMES = ("train", "training")
# The names in use for the part that accuracy is reported on, the first one that is there.
TEST_NAMES = (
    *("test", "testing", "val", "valid", "validate", "validation", "eval", "evaluation"),
    "dev",
)
# As in "train_set" and "Test videos".
_FILLERS = frozenset(("set", "split", "data", "videos", "video", "clips", "part", "folder"))

Layout = Literal["auto", "classes"]
LabelledNames = list[tuple[str, str]]  # class and name


@dataclass(frozen=True)
class ClassFolders:
    """Videos by class, as names from a root.

    Attributes:
        parts: "train" and "test" -> (class, name) of each; "all" alone where the set has no parts.
        left_out: what is not read, classes without a video among it.
    """

    root: Path
    parts: dict[str, LabelledNames]
    left_out: tuple[LeftOut, ...]

    @property
    def is_split(self) -> bool:
        return "train" in self.parts


def part_named(name: str) -> str | None:
    """The part that a folder's, a list's or a split's name means: "train", a test name, or None."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    words = [word for word in words if word not in _FILLERS] or words
    named = {word for word in words if word in (*TRAIN_NAMES, *TEST_NAMES)}
    if len(named) != 1:
        return None
    word = named.pop()
    return "train" if word in TRAIN_NAMES else word


def folder_part(name: str) -> str | None:
    """As `part_named`, of a name that says nothing else: "walk_train" is a class."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    rest = [word for word in words if word not in _FILLERS]
    return part_named(name) if len(rest) == 1 else None


def find_classes(
    root: Path, layout: Layout = "auto", test_names: Sequence[str] = TEST_NAMES
) -> ClassFolders:
    """<class>/<video>, or <train>/<class>/<video> beside <test>/<class>/<video>.

    layout: "classes" takes the folders of the root for classes, whatever they are called.
    test_names: in the order in which they are taken.

    Raises:
        UserError: where two folders of the root look like parts and are not called so.
    """
    if layout not in ("auto", "classes"):
        raise UserError(f"layout={layout!r}: choose auto or classes.")
    tree = search(root)
    tops = sorted(folder for folder in tree.folders if "/" not in folder)
    left_out = list(tree.left_out)
    train = [top for top in tops if folder_part(top) == "train"]
    tests = [top for top in tops if folder_part(top) not in (None, "train")]
    tests.sort(key=lambda top: test_names.index(str(folder_part(top))))
    if layout == "classes" or not (train and tests):
        if layout == "auto":
            _refuse_parts(tree, tops)
        return ClassFolders(root, {"all": _classes(tree, "", left_out)}, tuple(left_out))
    if len(train) > 1 or len({folder_part(top) for top in tests}) < len(tests):
        raise UserError(
            f"{root} holds two folders for one part ({', '.join([*train, *tests])}): keep one of "
            "them."
        )
    used = {"train": train[0], "test": tests[0]}
    for top in tops:
        if top not in used.values() and any(v.startswith(f"{top}/") for v in tree.videos):
            left_out.append(LeftOut(top, f"neither {train[0]} nor {tests[0]}, the parts in use"))
    parts = {part: _classes(tree, f"{top}/", left_out) for part, top in used.items()}
    return ClassFolders(root, parts, tuple(left_out))


def _classes(tree: Tree, place: str, left_out: list[LeftOut]) -> LabelledNames:
    """(class, name) of the videos in the folders of a place; adds what that leaves out."""
    found: LabelledNames = []
    for name in tree.videos:
        if not name.startswith(place):
            continue
        label, slash, _ = name.removeprefix(place).partition("/")
        if slash:
            found.append((normal(label), name))
        else:
            left_out.append(LeftOut(name, "in no class's folder"))
    named = {label for label, _ in found}
    for folder in tree.folders:
        label = folder.removeprefix(place)
        if not folder.startswith(place) or "/" in label or normal(label) in named:
            continue
        is_empty = not any(f"{i.name}/".startswith(f"{folder}/") for i in tree.left_out)
        reason = "a folder without a video" if is_empty else "a class of which nothing is read"
        left_out.append(LeftOut(folder, reason))
    return found


def _refuse_parts(tree: Tree, tops: Sequence[str]) -> None:
    """Two folders with the same folders of videos in them are two parts, or persons of classes."""
    below: dict[str, set[str]] = {top: set() for top in tops}
    for name in tree.videos:
        top, *inner = name.split("/")
        if len(inner) > 1:
            below[top].add(inner[0])
    for one, other in combinations(tops, 2):
        shared = below[one] & below[other]
        if 2 * len(shared) > min(len(below[one]), len(below[other])):
            raise UserError(
                f"{one} and {other} in {tree.root} hold the same folders "
                f"({', '.join(sorted(shared)[:3])}{', …' if len(shared) > 3 else ''}), as parts of "
                "a set do: call them train and test, or, if they are classes, give "
                "--data-option layout=classes."
            )
