"""Lists of videos and their labels, one a line, in the forms in use.

`path label` and `path,label` (PySlowFast, VideoMAE, mmaction2), `frame_dir frames label` (TSN, TSM,
mmaction2), `frame_dir offset frames label` (mmaction2), CSV with a header, and PySlowFast's frame
lists (see `frame_lists`).
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stdcf.data.sets import frame_lists
from stdcf.data.sets.annotations import open_annotations
from stdcf.data.sets.places import normal
from stdcf.data.sets.tree import VIDEO_ENDINGS, is_video
from stdcf.errors import UserError

_PATH_COLUMNS = (
    *("path", "video_path", "filepath", "file_path", "filename", "file_name", "file", "video"),
    *(
        "video_name",
        "video_id",
        "frame_dir",
        "frames_dir",
        "directory",
        "folder",
        "dir",
        "clip",
        "name",
    ),
)
_LABEL_COLUMNS = (
    *("label", "class", "label_name", "class_name", "classname", "action", "category", "target"),
    *("label_id", "class_id"),
)
_FRAMES_COLUMNS = ("num_frames", "total_frames", "n_frames", "nframes", "frames")
_OFFSET_COLUMNS = ("offset", "start_frame", "first_frame")
_START_COLUMNS = ("start", "start_time", "time_start", "start_seconds", "t_start")
_END_COLUMNS = ("end", "end_time", "time_end", "end_seconds", "t_end")
_PART_COLUMNS = ("split", "subset", "part", "set")

_ENDINGS = "|".join(ending[1:] for ending in sorted(VIDEO_ENDINGS, key=len, reverse=True))
# A path may hold spaces and commas: it ends at the first video ending that a separator follows.
_FILE_LINE = re.compile(
    rf'\s*"?(.+?\.(?:{_ENDINGS}))"?\s*[ \t,;]\s*"?(.+?)"?[\s,;]*', re.IGNORECASE
)
_SEVERAL = re.compile(r"-?\d+(?:\.\d+)?(?:[ \t,;]+-?\d+(?:\.\d+)?)+")
_WHOLE_NUMBER = re.compile(r"\d+(?:\.0+)?")
_SEPARATORS = ("\t", ";", ",")
# Lines by which a list's form is told.
_SAMPLE = 1000

# Path, label, (offset, frames) of a folder, (start, end) in seconds, part; None: not said.
Row = tuple[str, str, tuple[int, int] | None, tuple[float, float] | None, str | None]


@dataclass
class LabelList:
    """A list's rows, in its order.

    Attributes:
        paths: as they stand there.
        frames: of each (offset, number), of a list of frame folders that states them, or empty.
        spans: of each (start, end) in seconds, of a list that has times, or empty.
        parts: of each its part ("train", …), of a list that has them, or empty.
        by_number: an offset in `frames` is the number in the first frame's name.
    """

    file: Path
    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    frames: list[tuple[int, int]] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    by_number: bool = False

    def add(self, row: Row) -> None:
        """Appends a row; all rows of a list have the same fields."""
        self.paths.append(row[0])
        self.labels.append(normal(row[1]))
        if row[2] is not None:
            self.frames.append(row[2])
        if row[3] is not None:
            self.spans.append(row[3])
        if row[4] is not None:
            self.parts.append(row[4])


def read_list(file: Path) -> LabelList:
    """A list of videos and labels; its form is told by its first lines.

    A header is one line of column names. Labels are numbers or names; a name after a space may not
    hold one, unless a video's ending stands before.

    Raises:
        UserError: for a file without a row; for a line that is not of the file's form, with its
            number.
    """
    with open_annotations(file) as content:
        # HMDB51's names begin with # too.
        numbered = (
            (n, line)
            for n, line in enumerate(content, 1)
            if not (line.isspace() or line.startswith("# "))
        )
        first = next(numbered, (0, ""))
        if frame_lists.is_header(first[1]):
            # Of Something-Something it has twenty million lines: never all of them at a time.
            found = LabelList(file, by_number=True)
            for folder, label, frames in frame_lists.read_frames(file, numbered):
                found.add((folder, label, frames, None, None))
            if not found.paths:
                raise UserError(f"{file} has a header and nothing below.")
            return found
        lines = [(n, line.rstrip("\r\n")) for n, line in (first, *numbered) if n]
    if not lines:
        raise UserError(f"{file} is empty: give a line `path label` for each video.")
    found = LabelList(file)
    header = _header(lines[0][1])
    if header is not None:
        names, separator = header
        if separator is not None:
            for row in _column_rows(file, lines, names, separator):
                found.add(row)
            if not found.paths:
                raise UserError(f"{file} has a header and nothing below.")
            return found
        # `path label` over lines that are read as without it.
        if names[0] not in _PATH_COLUMNS or names[-1] not in _LABEL_COLUMNS:
            raise UserError(f"{file}: a header without commas is a path first, a label last.")
        lines = lines[1:]
    lines = [(number, line.rstrip(" \t,;")) for number, line in lines]
    parse, form = _form(file, lines)
    for number, line in lines:
        parsed = parse(line)
        if parsed is None:
            raise UserError(f"{file}, line {number}: expected {form}, not {line.strip()[:60]!r}.")
        found.add(parsed)
    return found


def _header(line: str) -> tuple[list[str], str | None] | None:
    """Names of columns and what separates them (None: spaces); None of a line that has none."""
    separator = next((s for s in _SEPARATORS if s in line), None)
    names = [cell.strip().strip('"').lower() for cell in line.split(separator)]
    is_header = any(n in _PATH_COLUMNS for n in names) and any(n in _LABEL_COLUMNS for n in names)
    return (names, separator) if is_header else None


def _form(
    file: Path, lines: Sequence[tuple[int, str]]
) -> tuple[Callable[[str], "Row | None"], str]:
    """What reads a line of this list, and the form in words."""
    if not lines:
        raise UserError(f"{file} has a header and nothing below.")
    sample = [line for _, line in lines[:_SAMPLE]]
    if _FILE_LINE.fullmatch(sample[0]):
        return _file_row, "a video's path and its label (more columns need a header)"
    separator = next((s for s in _SEPARATORS if all(s in line for line in sample)), None)
    widths = {len(line.split(separator)) for line in sample}
    if widths == {4} and all(_offset_row(line, separator) for line in sample):
        return (
            lambda line: _offset_row(line, separator),
            "a folder, its offset, its number of frames and a label",
        )
    if all(_frames_row(line, separator) for line in sample):
        return (
            lambda line: _frames_row(line, separator),
            "a folder, its number of frames and a label",
        )
    return lambda line: _plain_row(line, separator), "a path and a label"


def _file_row(line: str) -> Row | None:
    """`path label`, the path with a video's ending."""
    # The usual line without a regular expression, which takes ten times as long.
    path, space, label = line.rpartition(" ")
    if space and label.isdecimal() and path[-4:] in _USUAL and '"' not in path:
        return path.strip(), label, None, None, None
    match = _FILE_LINE.fullmatch(line)
    if match is None or _SEVERAL.fullmatch(match[2]):
        return None
    return match[1], match[2], None, None, None


_USUAL = frozenset({".mp4", ".avi", ".mkv", ".mov"})


def _cells(line: str, separator: str | None, most: int) -> list[str]:
    """A line's cells, cut from the right: what is left of them is the path."""
    cells = line.strip().rsplit(separator, most - 1)
    return [cell.strip().strip('"') for cell in cells]


def _offset_row(line: str, separator: str | None) -> Row | None:
    cells = _cells(line, separator, 4)
    if len(cells) < 4 or not all(cells) or not (cells[1].isdecimal() and cells[2].isdecimal()):
        return None
    return cells[0], cells[3], (int(cells[1]), int(cells[2])), None, None


def _frames_row(line: str, separator: str | None) -> Row | None:
    cells = _cells(line, separator, 3)
    if len(cells) < 3 or not all(cells) or not cells[1].isdecimal():
        return None
    return cells[0], cells[2], (0, int(cells[1])), None, None


def _plain_row(line: str, separator: str | None) -> Row | None:
    cells = _cells(line, separator, 2)
    if len(cells) < 2 or not all(cells) or is_video(cells[1]):
        return None
    return cells[0], cells[1], None, None, None


def _column_rows(
    file: Path, lines: Sequence[tuple[int, str]], names: Sequence[str], separator: str
) -> Iterator[Row]:
    def place(wanted: Sequence[str]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    at = [place(_PATH_COLUMNS), place(_LABEL_COLUMNS)]
    path, label = (number for number in at if number is not None)
    frames, offset = place(_FRAMES_COLUMNS), place(_OFFSET_COLUMNS)
    start, end, part = place(_START_COLUMNS), place(_END_COLUMNS), place(_PART_COLUMNS)
    reader = csv.reader((line for _, line in lines[1:]), delimiter=separator)
    for (number, line), cells in zip(lines[1:], reader, strict=False):
        try:
            yield (
                cells[path].strip(),
                cells[label].strip(),
                None
                if frames is None
                else (0 if offset is None else int(cells[offset]), int(cells[frames])),
                None if start is None or end is None else _span(cells[start], cells[end]),
                None if part is None else cells[part].strip(),
            )
        except (IndexError, ValueError) as error:
            raise UserError(
                f"{file}, line {number}: expected {separator.join(names)}, not "
                f"{line.strip()[:60]!r}."
            ) from error


def _span(start: str, end: str) -> tuple[float, float]:
    span = parse_time(start), parse_time(end)
    if not 0 <= span[0] < span[1]:
        raise ValueError(f"{start} to {end} has no length")
    return span


def parse_time(text: str) -> float:
    """Seconds of "12.5" or "00:00:12.50"; ValueError for anything else."""
    seconds = 0.0
    for piece in text.strip().split(":"):
        seconds = 60 * seconds + float(piece)
    return seconds


def check_numbers(lists: Sequence[LabelList]) -> None:
    """Labels that are all numbers are made so: 1, 01 and 1.0 are one class.

    Raises:
        UserError: for numbers among names, and for a number below 0.
    """
    files = {label: found.file for found in lists for label in found.labels}
    numbers = {label: str(int(float(label))) for label in files if _WHOLE_NUMBER.fullmatch(label)}
    signed = [label for label in files if re.fullmatch(r"-\d+(?:\.0+)?", label)]
    if signed:
        raise UserError(f"{files[signed[0]]}: {signed[0]} is no class: take such lines out.")
    if numbers and len(numbers) < len(files):
        name, number = (
            next(n for n in files if (n in numbers) == wanted) for wanted in (False, True)
        )
        raise UserError(
            f"{files[number]} calls a class {number} and {files[name]} one {name!r}: write numbers "
            "or names."
        )
    if any(label != number for label, number in numbers.items()):
        for found in lists:
            found.labels[:] = [numbers[label] for label in found.labels]


def read_classes(file: Path) -> dict[str, str]:
    """Number -> name of each class, by a file beside the lists.

    A name a line, counted from 0; `number name` a line (UCF101's classInd.txt); a CSV with id and
    name; a JSON object of name: number.

    Raises:
        UserError: for a file in none of these forms, or with a number or a name twice.
    """
    with open_annotations(file) as content:
        text = content.read()
    pairs = _json_classes(file, text) if text.lstrip()[:1] == "{" else _class_lines(file, text)
    if len({n for n, _ in pairs}) < len(pairs) or len({name for _, name in pairs}) < len(pairs):
        raise UserError(f"{file} names a class or a number twice.")
    if not pairs:
        raise UserError(f"{file} names no class.")
    return {str(number): name for number, name in pairs}


def _json_classes(file: Path, text: str) -> list[tuple[int, str]]:
    import json

    try:
        return [(int(number), str(name)) for name, number in json.loads(text).items()]
    except (ValueError, TypeError, RecursionError, AttributeError) as error:
        raise UserError(f"{file}: expected a JSON object of name: number.") from error


def _class_lines(file: Path, text: str) -> list[tuple[int, str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and re.fullmatch(r'"?(id|label_id|class_id|number)"?[,;\t].+', lines[0]):
        lines = lines[1:]
    matches = [re.fullmatch(r'(\d+)[ \t,;]+"?(.+?)"?', line) for line in lines]
    numbered = [(int(match[1]), match[2]) for match in matches if match]
    return numbered if len(numbered) == len(lines) else list(enumerate(lines))
