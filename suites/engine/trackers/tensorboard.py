"""TensorBoard: an event file for each run, in suite/setting/run."""

import json
import shutil
from pathlib import Path

from suites.engine.trackers.tracked import TrackedRun


def send(run: TrackedRun, folder: Path) -> None:
    """Writes the run's events anew; `tensorboard --logdir FOLDER` shows them."""
    from torch.utils.tensorboard import SummaryWriter

    own = folder / run.suite / run.setting / run.name
    shutil.rmtree(own, ignore_errors=True)
    with SummaryWriter(str(own)) as writer:
        for epoch, values in run.points:
            for name, value in values.items():
                writer.add_scalar(name, value, epoch)
        last = len(run.points)
        for name, value in run.summary.items():
            writer.add_scalar(f"row/{name}", value, last)
        writer.add_text("row", f"```json\n{json.dumps(dict(run.row), indent=1)}\n```")
        writer.add_text("spec", f"```json\n{json.dumps(dict(run.config), indent=1)}\n```")
