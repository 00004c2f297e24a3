"""``python -m suites.report [NAME]``: the tables again, from results alone."""

from pathlib import Path
from typing import Annotated

import typer

from stdcf.errors import UserError
from suites.cli import new_app, run

app = new_app("Print the tables of a suite (default: of all) from results alone.")

FORMATS = ("text", "md", "csv", "json")


@app.command()
def main(
    name: Annotated[str | None, typer.Argument(help="The suite; default all.")] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of runs beside those shipped; default results/local."),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")
    ] = "text",
) -> int:
    """Print the tables of a suite from results alone, local rows before shipped ones."""
    from suites.settings import by_setting, suites_to_show

    if format_ not in FORMATS:
        raise UserError(f"no format {format_!r}; there are {', '.join(FORMATS)}")
    tables = [
        table
        for suite in suites_to_show(name)
        for rows in by_setting(suite.name, results).values()
        for table in suite.tables(rows)
    ]
    if not tables:
        raise UserError("no results yet; python -m suites.run kth_table2 makes some")
    if format_ == "json":
        typer.echo("[" + ",\n".join(table.to_json().strip() for table in tables) + "]")
    for table in tables if format_ != "json" else ():
        if format_ == "text":
            table.print()
        else:
            typer.echo(table.to_markdown() if format_ == "md" else table.to_csv())
    return 0


if __name__ == "__main__":
    run(app)
