"""``python -m suites.status NAME``: each run's state, where it is, and what it asks for."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from stdcf.errors import UserError
from suites import paths
from suites.cli import EXIT_USER_ERROR, new_app, run
from suites.engine.store.folder import RunFolder

app = new_app("Show each run of a suite: done, running, resumable or failed, and where it is.")


@app.command()
def main(
    name: Annotated[str, typer.Argument(help="The suite.")],
    results: Annotated[
        Path | None, typer.Option(help="Where runs are kept; default results/local.")
    ] = None,
    resubmit: Annotated[
        str | None,
        typer.Option(help="Send to the cluster again what ended so: failed, timeout or oom."),
    ] = None,
    cluster_option: Annotated[
        list[str] | None,
        typer.Option(help="With --resubmit: KEY=VALUE of the profile, as memory_gib=32."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send more than 50 jobs without asking.")
    ] = False,
) -> int:
    """Show each run of a suite: done, running, resumable or failed, and where it is."""
    from suites.cluster.record import read_record
    from suites.engine.registry import get_suite
    from suites.engine.store import folder as store

    suite = get_suite(name)
    root = paths.results_folder(results, must_exist=False)
    folders = store.run_folders(root, suite.name)
    if not folders:
        raise UserError(f"no runs of {name} in {root}; python -m suites.run {name} makes some")
    refused: list[str] = []
    if resubmit is not None:
        from suites.cluster.resubmit import resubmit as send_again

        refused = send_again(folders, root, resubmit, cluster_option or (), yes)
    elif cluster_option:
        raise UserError("--cluster-option goes with --resubmit")
    _print_table(suite.name, root, folders, {f.path: read_record(f) for f in folders})
    for refusal in refused:
        print(f"error: {refusal}", file=sys.stderr)
    return EXIT_USER_ERROR if refused else 0


def _print_table(name: str, root: Path, folders: list[RunFolder], records: dict) -> None:
    from suites.tables.table import Table

    on_cluster = [folder for folder in folders if records[folder.path] is not None]
    queued, notes = {}, []
    if on_cluster:
        from suites.cluster.state import ClusterView, where

        view = ClusterView.now()
        found = view.reconcile(on_cluster)
        queued = {run.folder.path: where(run) for run in found if run.is_queued}
        if view.unreachable is not None:
            notes.append(f"by the runs' own files alone: {view.unreachable}")
    specs = [folder.spec() for folder in folders]
    several_models = len({spec.model for spec in specs}) > 1
    body = []
    for folder, spec in zip(folders, specs, strict=True):
        record = records[folder.path]
        state, detail = queued.get(folder.path) or describe(folder)
        words = [spec.model if several_models else "", spec.layer, spec.mode]
        row = [" ".join(w for w in words if w), str(spec.seed), state, detail]
        row += [record.needs if record else "–"] if on_cluster else []
        body.append([*row, spec.run_id])
    ok = sum(row[2] == "ok" for row in body)
    columns = ["Row", "Seed", "State", "Where", "Run"]
    if on_cluster:
        columns.insert(4, "Asks for")
    settings = [spec.setting for spec in specs]
    if len(set(settings)) > 1:
        columns.insert(0, "Setting")
        body = [[setting, *row] for setting, row in zip(settings, body, strict=True)]
    else:
        notes.insert(0, f"setting: {settings[0]}")
    Table(
        title=f"{name}: {ok} of {len(body)} runs ok in {root}",
        columns=columns,
        rows=body,
        notes=notes,
    ).print()


def describe(folder: RunFolder) -> tuple[str, str]:
    """A run's state and one line on where it is, by its own files."""
    from suites.cluster.record import fresh_row, read_record
    from suites.engine.read_off import source_of

    result, state = fresh_row(folder, read_record(folder)), folder.state()
    if result is not None and result["status"] == "ok":
        if "summary" in result:
            return "ok", str(result["summary"])
        return "ok", f"accuracy {100 * result['accuracy']:.2f}%"
    # A row that is not final is run again, and stays until that has ended.
    is_running = not folder.is_done() and state is not None and folder.is_claimed()
    if result is not None and not is_running:
        return result["status"], str(result["reason"])
    if state is None:
        source = source_of(folder)
        return "waiting", "" if source is None else f"to be read off {source.training}"
    where = f"{100 * state.get('fraction', 0):.0f}%"
    if "stage" in state:
        where += f", stage {state['stage']}, epoch {state['epoch']} of {state['epochs']}"
    if is_running:
        return "running", where
    age = int(time.time() - state["updated"])
    return "stopped", f"{where}; last seen {age // 60} min ago, resumes with suites.run"


if __name__ == "__main__":
    run(app)
