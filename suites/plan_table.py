"""What a suite would run: ``--dry-run``."""

from collections.abc import Sequence
from pathlib import Path

from stdcf.training.stage import total_cost
from suites.spec import RunSpec
from suites.store import RunFolder
from suites.suite import Suite
from suites.table import Table


def plan_table(suite: Suite, specs: Sequence[RunSpec], results: Path) -> Table:
    """One line a run: stages, computation, whether it is done."""
    body = []
    for spec in specs:
        folder = RunFolder(results / spec.folder_name)
        body.append(
            [
                spec.run_id,
                spec.layer,
                spec.mode,
                str(spec.seed),
                " ".join(f"{stage.name}×{stage.epochs}" for stage in spec.stages),
                f"{total_cost(spec.stages):g}",
                _state(folder),
            ]
        )
    missing = sum(row[-1] != "done" for row in body)
    return Table(
        title=f"{suite.name}: {missing} of {len(specs)} runs to do ({specs[0].setting})",
        columns=["Run", "Layer", "Mode", "Seed", "Stages × epochs", "Full-size epochs", "State"],
        rows=body,
        notes=[f"results in {results}", "full-size epochs: computation in epochs at full size"],
    )


def _state(folder: RunFolder) -> str:
    if folder.is_done():
        return "done"
    result = folder.result()
    if result is not None:
        return f"{result['status']}, runs again"
    return "resumes" if (folder.path / "checkpoint.pt").exists() else "to do"
