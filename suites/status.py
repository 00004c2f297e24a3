"""``python -m suites.status NAME``: each run's state and where it is."""

import time
from pathlib import Path
from typing import Annotated

import typer

from stdcf.errors import UserError
from suites.cli import new_app, run
from suites.store import RunFolder

app = new_app("Show each run of a suite: done, running, resumable or failed, and where it is.")


@app.command()
def main(
    name: Annotated[str, typer.Argument(help="The suite.")],
    results: Annotated[
        Path | None, typer.Option(help="Where runs are kept; default results/local.")
    ] = None,
) -> int:
    """Show each run of a suite: done, running, resumable or failed, and where it is."""
    from suites import store
    from suites.registry import get_suite
    from suites.table import Table

    suite = get_suite(name)
    root = (results or store.LOCAL).expanduser()
    folders = store.run_folders(root, suite.name)
    if not folders:
        raise UserError(f"no runs of {name} in {root}; python -m suites.run {name} makes some")
    body = []
    for folder in folders:
        spec = folder.spec()
        state, detail = describe(folder)
        body.append(
            [spec.setting, f"{spec.layer} {spec.mode}", str(spec.seed), state, detail, spec.run_id]
        )
    Table(
        title=f"{name}: {sum(row[3] == 'ok' for row in body)} of {len(body)} runs ok in {root}",
        columns=["Setting", "Row", "Seed", "State", "Where", "Run"],
        rows=body,
    ).print()
    return 0


def describe(folder: RunFolder) -> tuple[str, str]:
    """A run's state and one line on where it is."""
    result, state = folder.result(), folder.state()
    if result is not None and result["status"] == "ok":
        return "ok", f"accuracy {100 * result['accuracy']:.2f}%"
    # A row that is not final is run again, and stays until that has ended.
    is_running = not folder.is_done() and state is not None and folder.is_claimed()
    if result is not None and not is_running:
        return result["status"], str(result["reason"])
    if state is None:
        return "waiting", ""
    where = f"{100 * state.get('fraction', 0):.0f}%"
    if "stage" in state:
        where += f", stage {state['stage']}, epoch {state['epoch']} of {state['epochs']}"
    if is_running:
        return "running", where
    age = int(time.time() - state["updated"])
    return "stopped", f"{where}; last seen {age // 60} min ago, resumes with suites.run"


if __name__ == "__main__":
    run(app)
