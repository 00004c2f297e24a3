"""``python -m suites.plot [NAME]``: the figures again, from results alone."""

from pathlib import Path
from typing import Annotated

import typer

from stdcf.errors import UserError
from suites.cli import ResultsBeside, SuiteArgument, new_app, run
from suites.paths import results_folder

app = new_app("Draw the figures of a suite (default: of all) from results alone.")


@app.command()
def main(
    name: SuiteArgument = None,
    results: ResultsBeside = None,
    out: Annotated[
        Path | None, typer.Option(help="Where figures go; default figures/ in the results folder.")
    ] = None,
) -> int:
    """Draw the figures of a suite from results alone, as PNG and SVG.

    What is drawn already, of the same rows, stays as it is.
    """
    from suites.engine.store import folder as store
    from suites.reporting.drawing import Setting, draw_settings
    from suites.reporting.settings import by_setting, suites_to_show

    folder = (out or results_folder(results, must_exist=False) / "figures").expanduser().resolve()
    store.check_writable(folder, "--out")
    settings = [
        Setting(suite.name, setting, rows)
        for suite in suites_to_show(name)
        for setting, rows in by_setting(suite.name, results).items()
    ]
    drawn = [path for paths in draw_settings(settings, folder) for path in paths]
    if not drawn:
        raise UserError("nothing to draw yet; python -m suites.run kth_table2 makes results")
    for path in drawn:
        typer.echo(path)
    return 0


if __name__ == "__main__":
    run(app)
