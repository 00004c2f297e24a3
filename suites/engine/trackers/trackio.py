"""Trackio: a local database in the results folder, which `trackio show` opens."""

import os
from pathlib import Path

from suites.engine.trackers.tracked import TrackedRun


def send(run: TrackedRun, folder: Path) -> None:
    """Writes one trackio run, in the project $TRACKIO_PROJECT or "stdcf"."""
    # Read when trackio is imported.
    os.environ.setdefault("TRACKIO_DIR", str(folder))
    import trackio

    project = os.environ.get("TRACKIO_PROJECT", "stdcf")
    trackio.init(
        project=project,
        name=f"{run.suite}/{run.setting}/{run.name}",
        config=dict(run.config),
        resume="never",
        embed=False,
    )
    for epoch, values in run.points:
        trackio.log(dict(values), step=epoch)
    trackio.log({f"row/{name}": value for name, value in run.summary.items()})
    trackio.finish()
