"""A table as lines of text, for a terminal of any width.

Where it is too wide, its columns are shown in several blocks below each other, each beginning with
the first two columns, as pandas does. A cell that is too long by itself is wrapped.
"""

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len, chop_cells

# A cell's lines.
Lines = list[str]


def text_lines(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], room: int
) -> list[str]:
    """Title, header, rule and rows; the first two columns to the left, the others to the right.

    Args:
        room: columns of the terminal.
    """
    cells = [[clean(cell).split("\n") for cell in row] for row in (columns, *rows)]
    titles = wrapped(" ".join(clean(title).split()), room)
    whole = range(len(columns))
    if _width(cells, whole) <= room:
        return [*titles, "", *_block(cells, whole), ""]
    kept = min(2, len(columns))
    cells = [_narrow(cells[0], cells[1:]), *cells[1:]]
    _fit(cells, range(kept), max((room - 7) // 3, 1))
    left = room - _width(cells, range(kept)) - 3
    _fit(cells, range(kept, len(columns)), max(left, 1))
    lines = []
    shown = kept
    while True:
        block = [*range(kept)]
        while shown < len(columns) and _width(cells, [*block, shown]) <= room:
            block.append(shown)
            shown += 1
        lines += ["", *_block(cells, block)]
        if shown == len(columns):
            return [*titles, *lines, ""]


def wrapped(text: str, room: int, indent: str = "") -> Lines:
    """A text's lines: broken between words, or within one that is longer than the room.

    Args:
        indent: before every line but the first.
    """
    lines: Lines = []
    line, *words = text.split(" ")
    for word in words:
        if cell_len(f"{line} {word}") > room:
            lines.append(line)
            line = indent + word
        else:
            line += f" {word}"
    return [part for whole in [*lines, line] for part in chop_cells(whole, room) or [""]]


def hanging(label: str, text: str) -> str:
    """`label` and the text; where a terminal is too narrow, the text's lines stand below each
    other."""
    if not sys.stdout.isatty():
        return label + text
    room = shutil.get_terminal_size().columns - cell_len(label)
    return label + f"\n{' ' * cell_len(label)}".join(wrapped(text, max(room, 20)))


def clean(text: str) -> str:
    """Text that cannot move a terminal's cursor, nor colour it: a row may be a stranger's."""
    if text.isprintable():
        return text
    return "".join(map(_shown, text.expandtabs()))


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if unicodedata.category(character).startswith("Z") else "�"


def _narrow(header: Sequence[Lines], body: Sequence[Sequence[Lines]]) -> list[Lines]:
    """The header, broken between words where its column is narrower than it."""
    found = []
    for index, lines in enumerate(header):
        words = [word for line in lines for word in line.split(" ")]
        room = max(map(cell_len, words + [line for row in body for line in row[index]]))
        found.append([part for line in lines for part in wrapped(line, max(room, 1))])
    return found


def _fit(cells: list[list[Lines]], columns: Iterable[int], room: int) -> None:
    """Wraps the cells of some columns."""
    for row in cells:
        for index in columns:
            row[index] = [part for line in row[index] for part in wrapped(line, room)]


def _widths(cells: Sequence[Sequence[Lines]], block: Sequence[int]) -> list[int]:
    return [max(cell_len(line) for row in cells for line in row[index]) for index in block]


def _width(cells: Sequence[Sequence[Lines]], block: Sequence[int]) -> int:
    return sum(_widths(cells, block)) + 3 * len(block) + 1


def _block(cells: Sequence[Sequence[Lines]], block: Sequence[int]) -> list[str]:
    """Header, rule and rows of some columns."""
    widths = _widths(cells, block)
    header, *body = ([*_padded([row[index] for index in block], widths)] for row in cells)
    rule = f" {'─' * (sum(widths) + 3 * len(widths) - 1)}"
    return [*header, rule, *(line for row in body for line in row)]


def _padded(row: Sequence[Lines], widths: Sequence[int]) -> Iterator[str]:
    """A row's lines: as many as its highest cell has."""
    for place in range(max(map(len, row))):
        words = []
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            line = cell[place] if place < len(cell) else ""
            blank = " " * (width - cell_len(line))
            words.append(line + blank if index < 2 else blank + line)
        yield f"  {'   '.join(words)}".rstrip()
