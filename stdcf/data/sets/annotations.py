"""What the readers of annotation files share: text that is none, and labels that contradict."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from stdcf.errors import UserError


@contextmanager
def open_annotations(file: Path) -> Iterator[TextIO]:
    """A UTF-8 text for the csv module, with or without a byte order mark.

    Raises:
        UserError: naming the file, for what cannot be read, here or within the block.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as content:
            yield content
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} is not a CSV in UTF-8: {error}.") from error


def one_file(places: Sequence[Path], word: str, extension: str, official: str) -> Path | None:
    """*word*.extension in the first of some folders that has one.

    official: its name in a release, which is taken where there are others too.

    Raises:
        UserError: where there are several, and none of them is called so.
    """
    for place in places:
        found = sorted(f for f in place.glob(f"*{word}*.{extension}") if f.name[0] != ".")
        named = [file for file in found if file.name == official]
        if len(found) > 1 and not named:
            raise UserError(
                f"{found[0].name} and {found[1].name} in {place} may both be {official}: call one "
                "of them so, or take the other out."
            )
        if found:
            return (named or found)[0]
    return None


def check_labels(folder: Path, rows: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Of each part its (video, label): a video has one label and is in one part.

    Raises:
        UserError: naming the first video that has or is in two.
    """
    known: dict[str, tuple[str, str]] = {}
    for part, pairs in rows.items():
        for key, label in pairs:
            before = known.setdefault(key, (part, label))
            if before != (part, label):
                raise UserError(
                    f"The annotations in {folder} list {key} twice: {before[1]!r} in {before[0]}, "
                    f"{label!r} in {part}. Take one of them out."
                )
