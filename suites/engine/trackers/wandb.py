"""Weights & Biases: offline unless $WANDB_MODE says otherwise; `wandb sync` sends it later."""

import os
from pathlib import Path

from suites.engine.trackers.tracked import TrackedRun


def send(run: TrackedRun, folder: Path) -> None:
    """Writes one wandb run, in the project $WANDB_PROJECT or "stdcf", grouped by setting."""
    import wandb

    settings = wandb.Settings(silent=True)
    if "WANDB_MODE" not in os.environ:
        settings.mode = "offline"
    with wandb.init(
        project=os.environ.get("WANDB_PROJECT", "stdcf"),
        name=run.name,
        group=f"{run.suite}/{run.setting}",
        config=dict(run.config),
        dir=str(folder),
        settings=settings,
    ) as writer:
        for epoch, values in run.points:
            writer.log(dict(values), step=epoch)
        writer.summary.update({f"row/{name}": value for name, value in run.summary.items()})
        writer.summary.update({"status": run.row.get("status")})
    # Until all of it is written.
    wandb.teardown()
