"""A suite in one file: what each number of atoms costs kth_cnn in parameters and MACs.

python -m suites.run docs/examples/own_suite.py
"""

from collections.abc import Sequence
from typing import Any

from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row, Suite, no_figures
from suites.engine.task import Run
from suites.tables.table import Table

ATOMS = (1, 3, 6)


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """A run for each number of spatial atoms; with task="train" and stages it would train."""
    return [
        request.spec(
            "atom_cost",
            task="atom_cost",
            model="kth_cnn",
            layer="stdcf",
            mode=f"{atoms}_atoms",
            layer_options={"num_spatial_atoms": atoms},
            seed=0,
        )
        for atoms in ATOMS
    ]


def measure(run: Run) -> dict[str, Any]:
    """What the task adds to the run's row."""
    from stdcf.complexity import count
    from suites.engine.catalog import build_model

    counts = count(build_model(run.spec, num_classes=6, in_channels=1), (1, 1, 16, 60, 80))
    summary = f"{counts.params:,} parameters"
    return {"status": "ok", "params": counts.params, "macs": counts.macs, "summary": summary}


def tables(rows: Sequence[Row]) -> list[Table]:
    """From rows alone, of which some may be missing or not ok."""
    lines = [
        [row["mode"].partition("_")[0], f"{row['params']:,}", f"{row['macs'] / 1e6:,.0f}"]
        for row in rows
        if row["status"] == "ok"
    ]
    lines.sort(key=lambda line: int(line[0]))
    return [Table("kth_cnn by spatial atoms", ["Atoms", "Parameters", "MMACs"], lines)]


SUITE = Suite(
    name="atom_cost",
    title="What each number of spatial atoms costs kth_cnn",
    profiles=("quick",),
    datasets=("none",),
    dataset_options=lambda request: {},
    specs=specs,
    tables=tables,
    figures=no_figures,
    takes=(),
    takes_without_data=(),
    because="it counts, and trains nothing",
)
TASKS = {"atom_cost": measure}
