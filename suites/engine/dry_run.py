"""What a suite would run: ``--dry-run``."""

from collections.abc import Sequence
from pathlib import Path

from stdcf.stages.stage import total_cost
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Suite
from suites.tables.table import Table


def plan_table(suite: Suite, specs: Sequence[RunSpec], results: Path) -> Table:
    """One line a run: stages, computation, whether it is done. Needs no data."""
    folds = any(spec.fold for spec in specs)
    body = []
    for spec in specs:
        body.append(
            [
                spec.layer or spec.model,
                spec.mode,
                *([(spec.fold or "").removeprefix("fold-")] if folds else []),
                str(spec.seed),
                " ".join(f"{stage.name}×{stage.epochs}" for stage in spec.stages),
                f"{total_cost(spec.stages):g}" if spec.stages else "—",
                state(results, spec),
            ]
        )
    missing = sum(row[-1] != "done" for row in body)
    return Table(
        title=f"{suite.name}: {missing} of {len(specs)} runs to do ({specs[0].setting})",
        columns=[
            *("Layer", "Mode"),
            *(["Tested on"] if folds else []),
            *("Seed", "Stages × epochs", "Full-size epochs", "State"),
        ],
        rows=body,
        notes=[f"results in {results}", "full-size epochs: computation in epochs at full size"],
    )


def state(results: Path, spec: RunSpec) -> str:
    """Whether a run is done, resumes, runs again or is to do."""
    # Without the id, which depends on data that is not opened here.
    name = spec.folder_name.rpartition("-")[0]
    folders = [RunFolder(path) for path in results.glob(f"{name}-*") if path.is_dir()]
    if any(folder.is_done() for folder in folders):
        return "done"
    for folder in folders:
        result = folder.result()
        if result is not None:
            return f"{result['status']}, runs again"
    if any((folder.path / "checkpoint.pt").exists() for folder in folders):
        return "resumes"
    return "to do"
