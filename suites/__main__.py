"""``stdcf COMMAND …``, also as ``python -m suites``: every command by one name, with completion."""

from typing import NoReturn

import typer

from suites import cli, data, doctor, plan, plot, report, results, run, status

app = typer.Typer(
    help="What training a video network costs in memory, and what that buys in accuracy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=cli.CONTEXT,
)
for one in (run, plan, report, plot, status, doctor):
    app.command(one.__name__.rpartition(".")[2])(one.main)
for several in (results, data):
    app.add_typer(several.app, name=several.__name__.rpartition(".")[2])


def main() -> NoReturn:
    """The console script."""
    cli.run(app)


if __name__ == "__main__":
    main()
