"""A table as lines of text, where nothing needs to be wrapped.

As rich prints it, in a fraction of its time: rich measures and wraps every cell anew.
"""

import unicodedata
from collections.abc import Iterator, Sequence

from rich.cells import cell_len


def text_lines(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], room: int
) -> list[str] | None:
    """Title, header, rule and rows; the first two columns to the left, numbers to the right.

    Returns:
        None where a line would be longer than `room` columns of a terminal.
    """
    cells = [[clean(cell).split("\n") for cell in row] for row in (columns, *rows)]
    widths = [
        max(cell_len(line) for row in cells for line in row[index]) for index in range(len(columns))
    ]
    title = " ".join(clean(title).split())
    whole = sum(widths) + 3 * len(widths) + 1
    if max(whole, cell_len(title)) > room:
        return None
    header, *body = ([*_padded(row, widths)] for row in cells)
    lines = [line for row in body for line in row]
    return [title, "", *header, f" {'─' * (whole - 2)}", *lines, ""]


def clean(text: str) -> str:
    """Text that cannot move a terminal's cursor, nor colour it: a row may be a stranger's."""
    if text.isprintable():
        return text
    return "".join(map(_shown, text.expandtabs()))


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if unicodedata.category(character).startswith("Z") else "�"


def _padded(row: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    """A row's lines: as many as its highest cell has."""
    for place in range(max(map(len, row))):
        words = []
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            line = cell[place] if place < len(cell) else ""
            blank = " " * (width - cell_len(line))
            words.append(line + blank if index < 2 else blank + line)
        yield f"  {'   '.join(words)}".rstrip()
