"""Training that was done already: a run goes on from the end of one with the same training.

Several suites ask the same network different things. Whichever of them comes first trains it.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from stdcf.data.clips.splits import VideoData
from stdcf.errors import UserError
from stdcf.training.checkpoint import load_checkpoint
from stdcf.training.step import Numerics
from stdcf.whole_file import whole_file, write_atomically
from suites.engine.catalog import build_model
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder, run_folders
from suites.engine.task import Run
from suites.engine.train import train

_NOTE = "trained_by"


@dataclass(frozen=True)
class Trained:
    """A run's networks after training.

    Attributes:
        row: its fields, as `train` gives them, with "trained_by"; its "accuracy" is None,
            for what is asked of the networks then has its own.
        data: that it was trained and is tested on.
    """

    folder: RunFolder
    spec: RunSpec
    row: dict[str, Any]
    data: VideoData
    numerics: Numerics

    def model(self, stage: str) -> nn.Module:
        """The network as it was after a stage, for testing."""
        classes, channels = len(self.data.classes), self.data.train.clip_shape[0]
        model = self.numerics.place(build_model(self.spec, classes, channels))
        weights = load_checkpoint(self.folder.path / f"stage-{stage}.pt", self.numerics.device)
        model.load_state_dict(weights)
        return model.eval()


def train_or_adopt(run: Run) -> Trained | None:
    """Trains the run's network, or takes it from a finished run of the same training.

    None in a process that is not the run's first.
    """
    trained_by = adopt(run.folder)
    row = train(run)
    if not row:
        return None
    row |= {"accuracy": None, "video_accuracy": None, "trained_by": trained_by}
    data = run.data()
    return Trained(run.folder, run.spec, row, data, run.numerics(data))


def adopt(folder: RunFolder) -> str | None:
    """Takes the checkpoints of a finished run of the same training, if the results folder has one.

    Returns:
        That run's folder, relative to the results folder; None where this one trains by itself.
    """
    note = folder.path / _NOTE
    if note.exists():
        return note.read_text(encoding="utf-8").strip()
    results = folder.path.parents[2]
    if (folder.path / "checkpoint.pt").exists():
        return None
    source = find(folder.spec(), results)
    if source is None:
        return None
    # The checkpoint last: with it training is over, and the stages' weights must be there.
    for file in (*sorted(source.path.glob("stage-*.pt")), source.path / "checkpoint.pt"):
        with file.open("rb") as original, whole_file(folder.path / file.name) as copy:
            shutil.copyfileobj(original, copy)
    name = source.path.relative_to(results).as_posix()
    write_atomically(note, name + "\n")
    return name


def find(spec: RunSpec, results: Path) -> RunFolder | None:
    """A finished run under a results folder whose training is that of `spec`, or None."""
    for folder in run_folders(results):
        try:
            other = folder.spec()
        except UserError:
            # Of another version of the code, whose training is not known to be the same.
            continue
        if not other.is_training or other.training_id != spec.training_id:
            continue
        result = folder.result()
        files = ("checkpoint.pt", f"stage-{spec.stages[-1].name}.pt")
        is_whole = all((folder.path / name).is_file() for name in files)
        if result is not None and result["status"] == "ok" and is_whole:
            return folder
    return None
