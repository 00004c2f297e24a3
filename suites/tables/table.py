"""A table as it is shown: cells are text already, units stand in the headers."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

# What a number is, and its mark in a column that holds numbers of several kinds; † is for rows
# shipped with the repository.
MARKS = {"measured": "", "predicted": "ᵖ", "published": "*", "synthetic": "§"}

_NUMBER = re.compile(r"[-+−±]?\d")
_MARKDOWN = re.compile(r"[\\|*`]")
_NOTHING = frozenset({"", "–", "—"})


class Cell(str):
    """Text that knows what kind of number it is; where it is used, it is text as any other."""

    kind: str

    def __new__(cls, text: str, kind: str) -> "Cell":
        """`kind` is one of MARKS."""
        if kind not in MARKS:
            raise ValueError(f"no kind of number {kind!r}; there are {', '.join(MARKS)}")
        cell = super().__new__(cls, text)
        cell.kind = kind
        return cell


@dataclass(frozen=True)
class Table:
    """A table with a title and notes below it; missing cells say so, they are never blank.

    A column with Cells of several kinds gets the mark of each that was not measured, and a note
    that explains it.

    Raises:
        ValueError: if a row is longer or shorter than the header, or two columns share a name.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"two columns of {self.title!r} share a name: {self.columns}")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(row)} cells under {len(self.columns)} columns: {row}")
        self._mark()

    def _mark(self) -> None:
        marked = [list(row) for row in self.rows]
        used = set()
        for index in range(len(self.columns)):
            cells = [row[index] for row in self.rows]
            kinds = {cell.kind for cell in cells if isinstance(cell, Cell)}
            if len(kinds) < 2:
                continue
            used |= kinds
            for row, cell in zip(marked, cells, strict=True):
                row[index] = cell + MARKS[cell.kind] if isinstance(cell, Cell) else cell
        legend = [f"{MARKS[kind]} {kind}" for kind in MARKS if kind in used and MARKS[kind]]
        if legend:
            object.__setattr__(self, "rows", marked)
            object.__setattr__(self, "notes", [*self.notes, "; ".join(legend)])

    @property
    def is_number(self) -> list[bool]:
        """Of each column: whether it holds numbers, which stand to the right."""
        found = []
        for index in range(len(self.columns)):
            cells = [row[index] for row in self.rows if row[index] not in _NOTHING]
            found.append(sum(bool(_NUMBER.match(cell)) for cell in cells) * 2 > len(cells))
        return found

    def to_markdown(self) -> str:
        """GitHub's Markdown."""
        lines = [f"### {_escape(self.title)}", "", _line(self.columns)]
        lines += [_line(["---"] * len(self.columns)), *(_line(row) for row in self.rows)]
        lines += ["", *(f"- {_escape(note)}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """Header and rows, the title before each; below a blank line the notes likewise."""
        text = io.StringIO()
        # A carriage return is a line's end to readers, and the writer does not quote it by itself.
        has_returns = any("\r" in word for word in (self.title, *self.columns, *self.notes)) or any(
            "\r" in cell for row in self.rows for cell in row
        )
        quoting: Literal[0, 1] = csv.QUOTE_ALL if has_returns else csv.QUOTE_MINIMAL
        writer = csv.writer(text, lineterminator="\n", quoting=quoting)
        writer.writerow(["table", *self.columns])
        writer.writerows([self.title, *row] for row in self.rows)
        if self.notes:
            writer.writerow([])
            writer.writerow(["table", "note"])
            writer.writerows([self.title, note] for note in self.notes)
        return text.getvalue()

    def to_json(self) -> str:
        """One object: title, columns, rows as objects, notes."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        content = {"title": self.title, "columns": list(self.columns), "rows": rows}
        return json.dumps(content | {"notes": list(self.notes)}, ensure_ascii=False, indent=1)

    def print(self) -> None:
        """To the terminal, as wide as it is; 200 columns wide where there is none."""
        from rich.console import Console

        from suites.tables.text import clean, text_lines, wrapped

        # Without markup: a reason or a path may hold brackets.
        console = Console(width=None if _is_terminal() else 200, highlight=False, markup=False)
        title, *lines = text_lines(self.title, self.columns, self.rows, console.width)
        console.print(title, style="bold")
        for note in self.notes:
            for part in clean(note).split("\n"):
                lines += (f"  {line}" for line in wrapped(part, console.width - 2))
        console.file.write("\n".join([*lines, ""]))


def to_csv(tables: Iterable[Table]) -> str:
    """Several tables, a blank line between them."""
    return "\n".join(table.to_csv() for table in tables)


def to_json(tables: Iterable[Table]) -> str:
    """Several tables as a list of objects."""
    return "[" + ",\n".join(table.to_json() for table in tables) + "]\n"


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escape(cell) for cell in cells) + " |"


def _escape(text: str) -> str:
    return " ".join(_MARKDOWN.sub(r"\\\g<0>", text).replace("<", "&lt;").splitlines())
