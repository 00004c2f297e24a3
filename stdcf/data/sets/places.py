"""From what a list calls a video to the file or folder that is there."""

import filecmp
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from stdcf.data.sets.tree import Tree, is_video
from stdcf.errors import UserError

# From a list's name of a video to its path from the folder; None where it is not there.
Places = Callable[[str], str | None]


def by_path(tree: Tree) -> Places:
    """From a list's path to the video of which most last parts agree with it.

    A path may come from another machine, and may lack its ending. It is looked up among the videos
    that are there, and never opened as it stands.
    """
    there = set(tree.videos)
    by_name: dict[str, list[str]] = {}
    for video in tree.videos:
        name = normal(PurePosixPath(video).name)
        by_name.setdefault(name, []).append(video)
        if is_video(name):
            by_name.setdefault(name.rpartition(".")[0], []).append(video)

    def place(path: str) -> str | None:
        if path in there:
            return path
        wanted = [
            part for part in normal(path).replace("\\", "/").split("/") if part not in ("", ".")
        ]
        if ".." in wanted:
            return None
        candidates = by_name.get(wanted[-1], []) if wanted else []
        agreeing = [_agreeing(normal(name).split("/")[:-1], wanted[:-1]) for name in candidates]
        best = max(agreeing, default=0)
        chosen = [n for n, number in zip(candidates, agreeing, strict=True) if number == best]
        if len(chosen) > 1:
            raise UserError(
                f"{path} of the lists in {tree.root} may be {chosen[0]} or {chosen[1]}: write "
                "paths from that folder."
            )
        return chosen[0] if chosen else None

    return place


def normal(name: str) -> str:
    """Of two encodings of one accent, macOS's and that of others, the latter."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def the_one(root: Path, wanted: str, candidates: Sequence[str]) -> str:
    """The video that is meant, of those with its name; the first of equal files.

    Raises:
        UserError: where they differ: a folder of frames and one of optical flow, or an older copy.
    """
    first, *others = candidates
    for other in others:
        one, two = root / first, root / other
        if one.is_dir() or two.is_dir() or not filecmp.cmp(one, two, shallow=False):
            raise UserError(f"{wanted} in {root} may be {first} or {other}: take one of them out.")
    return first


def _agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """How many last parts are the same."""
    number = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        number += 1
    return number
