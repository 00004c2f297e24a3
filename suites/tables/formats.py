"""Tables printed as text, Markdown, CSV, LaTeX or JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from stdcf.errors import UserError

if TYPE_CHECKING:
    from suites.tables.table import Table


FORMATS = ("text", "md", "csv", "latex", "json")


def show(tables: Sequence["Table"], format_: str) -> None:
    """Prints tables in one of FORMATS.

    Raises:
        UserError: for another.
    """
    if format_ == "text":
        for table in tables:
            table.print()
    elif format_ == "md":
        typer.echo("\n".join(table.to_markdown() for table in tables), nl=False)
    elif format_ == "latex":
        from suites.tables.latex import to_latex

        typer.echo(to_latex(tables), nl=False)
    elif format_ in ("csv", "json"):
        from suites.tables.table import to_csv, to_json

        typer.echo({"csv": to_csv, "json": to_json}[format_](tables), nl=False)
    else:
        raise UserError(f"no format {format_!r}; there are {', '.join(FORMATS)}")
