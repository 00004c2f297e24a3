"""A table as it is shown: cells are text already, units stand in the headers."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A table with a title and notes below it; missing cells say so, they are never blank."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=tuple)

    def to_markdown(self) -> str:
        """GitHub's Markdown."""
        lines = [f"### {self.title}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line(row) for row in self.rows]
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """Header and rows; title and notes are left out."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()

    def to_json(self) -> str:
        """One object: title, rows as objects, notes."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        content = {"title": self.title, "rows": rows, "notes": list(self.notes)}
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    def print(self) -> None:
        """To the terminal; plain lines where it is narrow or no terminal."""
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable

        # Without markup: a reason or a path may hold brackets.
        console = Console(width=None if _is_terminal() else 200, highlight=False, markup=False)
        shown = RichTable(
            title=self.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
        )
        for index, column in enumerate(self.columns):
            shown.add_column(
                column,
                justify="left" if index < 2 else "right",
                overflow="fold",
                no_wrap=index < 2,
            )
        for row in self.rows:
            shown.add_row(*row)
        console.print(shown)
        for note in self.notes:
            console.print(f"  {note}")


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
