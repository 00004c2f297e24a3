"""Training that was done already: a run goes on from the end of one with the same training.

Several suites ask the same network different things. Whichever of them comes first trains it.
"""

import shutil
from pathlib import Path

from stdcf.errors import UserError
from stdcf.whole_file import whole_file
from suites.files import write_atomically
from suites.spec import RunSpec
from suites.store import RunFolder, run_folders

_NOTE = "trained_by"


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
