"""Training that another run has begun: a run without a checkpoint goes on from the other's.

All that a checkpoint depends on are the stages up to it, so one that stands in stages which both
schedules have is as good as the run's own.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from stdcf.errors import UserError
from stdcf.stages.stage import Stage
from stdcf.whole_file import whole_file, write_atomically
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder, run_folders

CHECKPOINT = "checkpoint.pt"
_NOTE = "begun_by"

# Stage, epoch and step.
Place = tuple[int, int, int]


def common_stages(one: Sequence[Stage], other: Sequence[Stage]) -> int:
    """With how many stages both schedules begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def begin(folder: RunFolder) -> str | None:
    """Copies the furthest checkpoint that another run of the results folder has for this one.

    Returns:
        That run's folder, relative to the results folder; None where this one began by itself.
    """
    note, own = folder.path / _NOTE, folder.path / CHECKPOINT
    if own.exists():
        return note.read_text(encoding="utf-8").strip() if note.exists() else None
    note.unlink(missing_ok=True)
    results, spec = folder.path.parents[2], folder.spec()
    # A copy, for the other run may go on meanwhile.
    best, copy = folder.path / ".begun.pt", folder.path / ".begun-new.pt"
    source, furthest = None, (0, 0, 0)
    for other in _kin(spec, results):
        with suppress(FileNotFoundError):
            shutil.copyfile(other.path / CHECKPOINT, copy)
            place = _place(copy, other.spec(), spec) or _branch(copy, other, spec)
            if place is not None and place > furthest:
                copy.replace(best)
                source, furthest = other, place
    copy.unlink(missing_ok=True)
    if source is None:
        return None
    name = source.path.relative_to(results).as_posix()
    write_atomically(note, name + "\n")
    ended = [f for s in spec.stages[: furthest[0]] for f in source.path.glob(f"stage-{s.name}.*")]
    # The checkpoint last: it says that the others are there.
    for file, target in (
        *((file, file.name) for file in (*ended, source.path / "plans.json") if file.exists()),
        (best, CHECKPOINT),
    ):
        with file.open("rb") as original, whole_file(folder.path / target) as whole:
            shutil.copyfileobj(original, whole)
    best.unlink()
    return name


def _kin(spec: RunSpec, results: Path) -> Iterator[RunFolder]:
    """Runs with a checkpoint that differ in no more than their later stages."""
    apart = spec.training_apart("stages")
    for folder in run_folders(results):
        if not (folder.path / CHECKPOINT).exists():
            continue
        try:
            other = folder.spec()
        except UserError:
            # Of another version of the code, whose training is not known to be the same.
            continue
        begins_alike = other.is_training and common_stages(other.stages, spec.stages)
        if begins_alike and other.training_apart("stages") == apart:
            yield folder


def _place(checkpoint: Path, other: RunSpec, spec: RunSpec) -> Place | None:
    """Stage, epoch and step of another run's checkpoint; None if it is of no use to `spec`."""
    from stdcf.training.checkpoint import CheckpointError, load_checkpoint

    try:
        state = load_checkpoint(checkpoint)
    except CheckpointError:
        return None
    place = (state["stage_index"], state["epoch"], state["step"])
    common = common_stages(other.stages, spec.stages)
    goes_on = spec.stages[common:][:1]
    next_there = other.stages[common:][:1]
    if place == (common, 0, 0) and goes_on and not goes_on[0].fresh_optimizer and next_there:
        # It holds the optimiser of the stage that is not common.
        return None if next_there[0].fresh_optimizer else place
    return place if place <= (common, 0, 0) else None


def _branch(checkpoint: Path, other: RunFolder, spec: RunSpec) -> Place | None:
    """Makes of another run's checkpoint what it was when their common stages ended.

    None where the next stage goes on with an optimiser, whose state is not kept for so long.
    """
    from stdcf.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

    common = common_stages(other.spec().stages, spec.stages)
    names = [stage.name for stage in spec.stages[:common]]
    if not all(stage.fresh_optimizer for stage in spec.stages[common:][:1]):
        return None
    try:
        state = load_checkpoint(checkpoint)
        weights = load_checkpoint(other.path / f"stage-{names[-1]}.pt")
        ended = json.loads((other.path / f"stage-{names[-1]}.json").read_text(encoding="utf-8"))
    except CheckpointError:
        return None
    peaks = {name: report for name, report in state["history"]["peaks"].items() if name in names}
    history = {
        "epochs": ended["epochs"],
        "stages": ended["row"]["stages"],
        "peaks": peaks,
        "broken": ended["row"]["broken_videos"],
    }
    place = {"stage_index": common, "epoch": 0, "step": 0}
    save_checkpoint(checkpoint, {**state, **place, "model": weights, "history": history})
    return common, 0, 0
