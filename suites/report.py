"""``python -m suites.report [NAME]``: the tables again, from results alone."""

from pathlib import Path
from typing import Annotated

import typer

from stdcf.errors import UserError
from suites.cli import EXIT_ROWS_NOT_OK, ResultsBeside, SuiteArgument, new_app, run
from suites.tables.formats import FORMATS, show

app = new_app("Print the tables of a suite (default: of all) from results alone.")


@app.command()
def main(
    name: SuiteArgument = None,
    results: ResultsBeside = None,
    format_: Annotated[
        str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")
    ] = "text",
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Say what moved between two folders of runs, or two commits."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write one page with every table, figure and run.")
    ] = None,
    figures: Annotated[
        bool, typer.Option(help="With --html: draw the figures that it shows, which takes a while.")
    ] = True,
    docs: Annotated[
        Path | None, typer.Option(help="Write the shipped results as Markdown, with figures.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="With --docs: write nothing, say if it is out of date.")
    ] = False,
) -> int:
    """Print the tables of a suite from results alone, local rows before shipped ones."""
    if format_ not in FORMATS:
        raise UserError(f"no format {format_!r}; there are {', '.join(FORMATS)}")
    if sum(option is not None for option in (diff, html, docs)) > 1:
        raise UserError("--diff, --html and --docs are three commands; give one of them")
    if not figures and html is None:
        raise UserError("--no-figures goes with --html")
    if check and docs is None:
        raise UserError("--check goes with --docs, as in --docs docs/results.md --check")
    if diff is not None:
        from suites.reporting.diff import diff_tables

        show(diff_tables(*diff), format_)
        return 0
    if html is not None:
        from suites.reporting.page.page import write_page

        typer.echo(write_page(html, name, results, with_figures=figures))
        return 0
    if docs is not None:
        from suites.reporting.docs_page import is_current, write_docs

        if check:
            why = is_current(docs)
            typer.echo(why or f"{docs} is up to date")
            return EXIT_ROWS_NOT_OK if why else 0
        typer.echo(write_docs(docs))
        return 0
    from suites.reporting.comparisons import setting_tables
    from suites.reporting.settings import by_setting, suites_to_show

    tables = []
    missing = []
    for suite in suites_to_show(name):
        settings = by_setting(suite.name, results)
        missing += [suite.name] if not settings else []
        for setting, rows in settings.items():
            tables += setting_tables(suite, setting, rows)
    if not tables:
        raise UserError(f"no results yet; python -m suites.run {name or 'kth_table2'} makes some")
    show(tables, format_)
    if missing and format_ in ("text", "md"):
        typer.echo(f"\nNo runs yet: {', '.join(missing)}.")
    return 0


if __name__ == "__main__":
    run(app)
