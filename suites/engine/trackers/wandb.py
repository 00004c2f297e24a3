"""Weights & Biases: offline unless $WANDB_MODE says otherwise; `wandb sync` sends it later."""

import os
from pathlib import Path

from suites.engine.trackers.tracked import TrackedRun


def send(run: TrackedRun, folder: Path) -> None:
    """Writes one wandb run, in the project $WANDB_PROJECT or "stdcf", grouped by setting."""
    import wandb

    with wandb.init(
        project=os.environ.get("WANDB_PROJECT", "stdcf"),
        mode=os.environ.get("WANDB_MODE", "offline"),
        name=run.name,
        group=f"{run.suite}/{run.setting}",
        config=dict(run.config),
        dir=str(folder),
        settings=wandb.Settings(silent=True),
    ) as writer:
        for epoch, values in run.points:
            writer.log(dict(values), step=epoch)
        writer.summary.update({f"row/{name}": value for name, value in run.summary.items()})
        writer.summary.update({"status": run.row.get("status")})
    # Until all of it is written.
    wandb.teardown()
