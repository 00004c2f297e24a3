"""Steps of gpu_evidence that the repository ships: as a GPU measured them, and as predicted."""

from collections.abc import Mapping
from typing import Any

from suites.engine.store import folder as store
from suites.engine.store.shipped import shipped_runs

Found = Mapping[str, Any]


def measured_steps() -> dict[str, Found]:
    """Name -> what a GPU measured, with its "device" and "finished"; of repeated steps the last."""
    return _steps("gpu_memory")


def predicted_steps() -> dict[str, Found]:
    """Name -> the prediction for CUDA."""
    return _steps("gpu_prediction")


def _steps(task: str) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for run in store.run_folders(shipped_runs(), "gpu_evidence"):
        spec, row = run.spec(), run.result()
        if spec.task != task or row is None or spec.options.get("workspaces"):
            continue
        of_row = {"device": row["device"], "finished": row["finished"]}
        for one in row.get("cases") or ():
            if one["status"] == "ok":
                found[one["name"]] = {**of_row, **one}
    return found
