"""The lists of videos in use for Kinetics: the official CSV, and lines of `path label`."""

import csv
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stdcf.data.sets.annotations import open_annotations
from stdcf.data.sets.class_folders import part_named
from stdcf.data.sets.tree import LeftOut, is_video
from stdcf.errors import UserError

COLUMNS = ("label", "youtube_id", "time_start", "time_end")
# PySlowFast's `path label` and VideoMAE's `path,label`; a path may hold spaces.
_PATH_LABEL = re.compile(r"(.+?)[ \t,;]+(\d{1,9})\s*")

Rows = dict[str, list[tuple[str, str]]]  # "train" and "test" -> (label, key)


@dataclass
class Lists:
    """What the lists of a folder say.

    Attributes:
        rows: "train" and "test" -> (label, key): <id>_<start>_<end>, or a path if `are_paths`.
        names: of classes, by the number that path lists have for them.
        left_out: files that are not lists, and parts that are not used.
        lacking: what is wrong with a file that should be a list, if no other is one.
    """

    rows: Rows = field(default_factory=dict)
    are_paths: bool = False
    names: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lacking: str = ""

    def class_names(self) -> tuple[str, ...]:
        """Classes in the order of their numbers."""
        numbers = {label for pairs in self.rows.values() for label, _ in pairs}
        return tuple(sorted(numbers, key=self._number))

    def _number(self, label: str) -> int:
        back = {name: number for number, name in self.names.items()}
        return int(back.get(label, label))


def read_lists(folder: Path, test_names: Sequence[str]) -> Lists:
    """The lists in a folder and in its `annotations`.

    A file is a list if it has the columns, or if its first line is a video's path and a number and
    its name says the part (train.csv, kinetics_val_list.txt). Others are named and not read.

    test_names: the parts to report on, in the order in which they are taken.

    Raises:
        UserError: for a wrong line.
    """
    lists = Lists()
    columns: dict[str, list[tuple[str, str]]] = {}
    paths: dict[str, list[tuple[str, str]]] = {}
    path_files: list[Path] = []
    places = [*folder.glob("*.csv"), *folder.glob("annotations/*.csv")]
    for file in sorted([*places, *folder.glob("*.txt"), *folder.glob("annotations/*.txt")]):
        if not file.is_file() or file.name.startswith("."):
            continue
        kind = _kind(file)
        if kind == "paths" and part_named(file.stem):
            path_files.append(file)
            paths.setdefault(str(part_named(file.stem)), []).extend(_path_rows(file))
        elif file.suffix == ".txt":
            continue
        elif kind == "columns":
            for part, label, key in _column_rows(file):
                columns.setdefault(part, []).append((label, key))
        else:
            _other(file, kind, lists)
    named = dict(columns or paths)
    lists.are_paths = not columns and bool(paths)
    if columns:
        lists.left_out += [
            LeftOut(f.relative_to(folder).as_posix(), "there are lists with columns")
            for f in path_files
        ]
    if lists.are_paths:
        _name_classes(named, lists)
    test = next((name for name in test_names if named.get(name)), None)
    if named:
        lists.rows = {"train": named.pop("train", [])}
        lists.rows["test"] = named.pop(test, []) if test else []
        unnamed = named.pop("", [])
        if unnamed:
            lists.notes.append(
                f"{len(unnamed)} listed videos are in no part known and not used "
                f"({unnamed[0][1]}{', …' if len(unnamed) > 1 else ''})."
            )
    return lists


def _other(file: Path, kind: str, lists: Lists) -> None:
    """A CSV that is not a list: names of classes, or one that should be a list."""
    if kind == "names":
        with open_annotations(file) as content:
            for row in csv.DictReader(content):
                lists.names[str(row["id"]).strip()] = str(row["name"]).strip()
    lacking = f"{file} lacks the columns {kind}: Kinetics' CSV has {', '.join(COLUMNS)}, split."
    if part_named(file.stem) and kind != "names":
        raise UserError(lacking)
    lists.left_out.append(LeftOut(file.name, "no list of videos"))
    if kind != "names":
        lists.lacking = lists.lacking or lacking


def _kind(file: Path) -> str:
    """ "columns", "paths", "names", or which columns lack."""
    with open_annotations(file) as content:
        first = content.readline(10_000)
        match = _PATH_LABEL.fullmatch(first.rstrip("\r\n"))
        if match and is_video(match[1].rpartition("/")[2]):
            return "paths"
        given = next(csv.reader([first]), [])
    # The official test list has no labels.
    if "label" not in given and "youtube_id" in given and "test" in file.stem:
        return "columns"
    lacking = [name for name in COLUMNS if name not in given]
    if lacking and {"id", "name"} <= set(given):
        return "names"
    return ", ".join(lacking) or "columns"


def _path_rows(file: Path) -> Iterator[tuple[str, str]]:
    with open_annotations(file) as content:
        for number, line in enumerate(content, 1):
            if not line.strip():
                continue
            match = _PATH_LABEL.fullmatch(line.rstrip("\r\n"))
            if not match or not is_video(match[1].rpartition("/")[2]):
                raise UserError(
                    f"{file}, line {number}: expected a video's path and the number of its class, "
                    f"not {line.strip()[:60]!r}."
                )
            yield str(int(match[2])), match[1].strip().strip('"')


def _name_classes(named: dict[str, list[tuple[str, str]]], lists: Lists) -> None:
    """Names for numbers, where a file beside has one for each."""
    numbers = {label for rows in named.values() for label, _ in rows}
    if numbers <= lists.names.keys() and len(set(lists.names.values())) == len(lists.names):
        for part, rows in named.items():
            named[part] = [(lists.names[label], key) for label, key in rows]
        lists.left_out[:] = [i for i in lists.left_out if i.reason != "no list of videos"]
    else:
        lists.names = {}


def _column_rows(file: Path) -> Iterator[tuple[str, str, str]]:
    """(part or "", label, key) of each row that has a label."""
    for row in _rows(file):
        if not row.get("label"):
            continue
        part = _part(row.get("split") or file.stem)
        try:
            start, end = _seconds(row["time_start"]), _seconds(row["time_end"])
        except (ValueError, TypeError, OverflowError) as error:
            raise UserError(
                f"{file}: {row['youtube_id']} has no times in seconds: "
                f"{row['time_start']!r}, {row['time_end']!r}."
            ) from error
        if int(end) <= int(start):
            raise UserError(f"{file}: {row['youtube_id']} ends at {end} s and begins at {start} s.")
        yield part, row["label"], f"{row['youtube_id']}_{start}_{end}"


@functools.cache
def _part(name: str) -> str:
    return part_named(name) or ""


@functools.cache
def _seconds(text: str) -> str:
    """A time as files' names have it."""
    return f"{round(float(text)):06d}"


def _rows(file: Path) -> Iterator[Mapping[str, str]]:
    with open_annotations(file) as content:
        # Not csv.DictReader, which takes twice as long for a million lines.
        reader = csv.reader(content)
        given = next(reader, [])
        for cells in filter(None, reader):
            row = dict(zip(given, cells, strict=False))
            if len(cells) < len(given):
                label = row.get("label")
                raise UserError(f"{file}, line {reader.line_num}: cut short, of {label!r}.")
            yield row
