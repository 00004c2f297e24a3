"""``python -m suites.results``: the runs themselves, and sets measured on several machines."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from stdcf.errors import UserError
from suites.cli import EXIT_ROWS_NOT_OK, new_app, run
from suites.engine.store.folder import tail
from suites.paths import results_folder

app = new_app("List, show and remove runs; export, import and merge those of several machines.")

LOG_LINES = 50
_MOST_LISTED = 100

Results = Annotated[
    Path | None,
    typer.Option(help="Folder of runs; default results/local.", show_default=False),
]
SuiteName = Annotated[str | None, typer.Option("--suite", help="Only of this suite.")]
SettingName = Annotated[str | None, typer.Option("--setting", help="Only of this setting.")]
Status = Annotated[str | None, typer.Option(help="Only with this status, such as ok or nan.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _rows(root: Path, **wanted: str | None) -> list[dict[str, Any]]:
    from suites.engine.store import folder as store

    return [
        row
        for row in store.rows(root, wanted.get("suite"))
        if all(value is None or row.get(field) == value for field, value in wanted.items())
    ]


@app.command("list")
def list_runs(
    results: Results = None,
    suite: SuiteName = None,
    setting: SettingName = None,
    status: Status = None,
    limit: Annotated[
        int, typer.Option(min=1, help="How many of the latest to show as text.")
    ] = _MOST_LISTED,
    format_: Annotated[str, typer.Option("--format", help="text, md, csv, latex or json.")] = (
        "text"
    ),
) -> int:
    """List ended runs, local and shipped (†), the latest first."""
    from suites.reporting import cells
    from suites.tables.formats import show
    from suites.tables.table import Cell, Table

    rows = _rows(results_folder(results), suite=suite, setting=setting, status=status)
    rows.sort(key=lambda row: row["finished"], reverse=True)
    shown = rows[:limit] if format_ == "text" else rows
    body = [
        [
            row["run_id"] + (" †" if row["shipped"] else ""),
            f"{row['suite']} {row['setting']}",
            " ".join(filter(None, (row["layer"], row["mode"]))),
            str(row["seed"]),
            row["status"],
            _accuracy(row),
            Cell(cells.mib(row.get("measured_peak_bytes")), "measured"),
            Cell(cells.mib(row.get("predicted_peak_bytes")), "predicted"),
            row["finished"],
        ]
        for row in shown
    ]
    notes = ["† shipped with the repository"] if any(row["shipped"] for row in shown) else []
    if any(row.get("synthetic") for row in shown):
        notes.append("§ on synthetic clips")
    if len(shown) < len(rows):
        notes.append(f"{len(rows) - len(shown)} more: --limit, --suite, --status, --format csv")
    columns = ["Run", "Setting", "Row", "Seed", "Status", "Accuracy, %"]
    columns += ["Peak, meas., MiB", "Peak, pred., MiB", "Finished"]
    show([Table(f"{len(rows)} runs", columns, body, notes)], format_)
    return 0


def _accuracy(row: dict[str, Any]) -> str:
    value = row.get("accuracy")
    if not isinstance(value, float):
        return "–"
    return f"{100 * value:.2f}" + (" §" if row.get("synthetic") else "")


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(help="A run's id or how it begins.")],
    results: Results = None,
) -> int:
    """Show one run: its spec, its row, its last epochs and the end of its log, as JSON."""
    row = _one(results_folder(results), run_id)
    folder = Path(row["folder"])
    content = {
        "folder": str(folder),
        "shipped": row["shipped"],
        "spec": json.loads((folder / "spec.json").read_text(encoding="utf-8")),
        "row": {k: v for k, v in row.items() if k not in ("folder", "shipped", "setting")},
        "last_epochs": tail(folder / "curves.csv", 3),
        "log": tail(folder / "log.txt", LOG_LINES),
    }
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
    return 0


def _one(root: Path, run_id: str) -> dict[str, Any]:
    found = [row for row in _rows(root) if row["run_id"].startswith(run_id)]
    if not found:
        raise UserError(f"no run {run_id!r} here; python -m suites.results list shows them")
    if len({row["run_id"] for row in found}) > 1:
        ids = ", ".join(sorted(row["run_id"] for row in found)[:5])
        raise UserError(f"{run_id!r} begins {len(found)} ids, such as {ids}; give more of the id")
    return found[0]


@app.command()
def rm(
    run_ids: Annotated[list[str] | None, typer.Argument(help="Ids, or how they begin.")] = None,
    results: Results = None,
    suite: SuiteName = None,
    setting: SettingName = None,
    status: Status = None,
    yes: Yes = False,
) -> int:
    """Remove runs: those named, or all that fit the options. Shipped ones stay."""
    from suites.engine.store.folder import remove

    root = results_folder(results)
    if run_ids:
        rows = [_one(root, run_id) for run_id in run_ids]
    elif suite or setting or status:
        rows = _rows(root, suite=suite, setting=setting, status=status)
    else:
        raise UserError("which runs? give ids, or --suite, --setting or --status")
    shipped = [row["run_id"] for row in rows if row["shipped"]]
    if run_ids and shipped:
        raise UserError(f"{shipped[0]} is shipped with the repository; git rm removes it")
    folders = [Path(row["folder"]) for row in rows if not row["shipped"]]
    if not folders:
        raise UserError("no run matches; python -m suites.results list shows them")
    if not yes:
        _confirm(f"remove {len(folders)} runs from {root}?")
    running = remove(folders)
    typer.echo(f"removed {len(folders) - len(running)} runs")
    for folder in running:
        typer.echo(f"{folder.name} is being worked on and stays")
    return EXIT_ROWS_NOT_OK if running else 0


def _confirm(question: str) -> None:
    import sys

    if not sys.stdin.isatty():
        raise UserError(f"{question} confirm with --yes")
    typer.confirm(question, abort=True)


@app.command("export")
def export_runs(
    file: Annotated[Path, typer.Argument(help="A .tar, .tar.gz or .tgz.")],
    results: Results = None,
    suite: SuiteName = None,
    setting: SettingName = None,
    status: Status = None,
) -> int:
    """Put ended runs of a results folder into one file, with a hash of each of their files."""
    from suites.engine.store.archive import write_archive
    from suites.engine.store.folder import check_writable
    from suites.engine.store.index import read_rows

    root = results_folder(results)
    target = file.expanduser().resolve()
    check_writable(target.parent, "another FILE")
    names = [
        name
        for name, row in read_rows(root, suite).items()
        if setting in (None, name.split("/")[1]) and status in (None, row["status"])
    ]
    if not names:
        raise UserError(f"no ended run matches in {root}; python -m suites.results list shows them")
    count = write_archive(root, names, target)
    typer.echo(f"{count} runs in {file} ({target.stat().st_size / 2**10:,.0f} KiB)")
    return 0


@app.command("import")
def import_runs(
    files: Annotated[list[Path], typer.Argument(help="What suites.results export wrote.")],
    results: Results = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take theirs where both are.")] = False,
) -> int:
    """Take the runs of exported files into a results folder, each verified first."""
    for file in files:
        if file.is_dir():
            raise UserError(f"{file} is a folder; python -m suites.results merge {file}")
    return _take(files, results_folder(results, must_exist=False), replace)


@app.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of other machines.")],
    results: Results = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take theirs where both are.")] = False,
) -> int:
    """Take the runs of other results folders into this one, each verified first."""
    root = results_folder(results, must_exist=False)
    for folder in folders:
        if not folder.expanduser().is_dir():
            raise UserError(f"no folder {folder}; python -m suites.results import reads a file")
        if folder.expanduser().resolve() == root:
            raise UserError(f"{folder} is the folder to merge into; --results chooses another")
    return _take(folders, root, replace)


def _take(sources: Iterable[Path], root: Path, replace: bool) -> int:
    from suites.engine.store import folder as store
    from suites.engine.store.intake import install, runs_in, verify

    store.check_writable(root)
    outcomes: Counter[str] = Counter()
    kept = []
    given = [source.expanduser() for source in sources]
    # All of them before the first is taken: a damaged file changes nothing here.
    for source in given:
        for name, files in runs_in(source):
            verify(name, files)
    for source in given:
        for name, files in runs_in(source):
            verified = verify(name, files)
            outcome = "unfinished" if verified is None else install(verified, root, replace=replace)
            outcomes[outcome] += 1
            if outcome in ("kept", "running"):
                kept.append(f"{name}: {_WHY[outcome]}")
    if not outcomes:
        raise UserError("no runs there; a results folder holds suite/setting/run/spec.json")
    counts = ", ".join(f"{count} {_OUTCOMES[name]}" for name, count in outcomes.most_common())
    typer.echo(f"{counts}; in {root}")
    for line in kept[:20]:
        typer.echo(line)
    if len(kept) > 20:
        typer.echo(f"and {len(kept) - 20} more such")
    return EXIT_ROWS_NOT_OK if kept else 0


_OUTCOMES = {
    "new": "new",
    "same": "there already",
    "replaced": "replaced",
    "kept": "kept as they were here",
    "running": "being worked on here",
    "unfinished": "not ended there",
}
_WHY = {
    "kept": "another row is here; --replace takes theirs",
    "running": "a process works on it here; import again when it has ended",
}


if __name__ == "__main__":
    run(app)
