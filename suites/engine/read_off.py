"""Rows of runs that need no training of their own.

A run whose stages are the beginning of another's, with all else equal, is read off the other one:
whoever trains that writes beside each stage's weights the row of a run that would end there. Of a
run under a cap whose numbers are the uncapped one's (`suites.engine.cap_probe`), the same holds.
Links between runs are files in their folders; nothing here needs torch or the data.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from stdcf.whole_file import write_atomically
from suites.engine.spec import RunSpec
from suites.engine.store.folder import Claimed, RunFolder
from suites.engine.store.provenance import identity, now
from suites.engine.store.stored import CHECKED, read_stored, stored

# What a cluster says of a job, which is the other run's.
_OF_JOBS = ("job", "attempts", "preemptions", "time_limits", "lost_attempts", "wall_seconds")


@dataclass(frozen=True, config=CHECKED)
class Source:
    """Where a run's row comes from; folders are relative to the results folder.

    Attributes:
        training: the run that is trained.
        cap: the run that tries the cap, where there is one; it may be the run itself.
    """

    training: str
    cap: str | None = None


@dataclass(frozen=True, config=CHECKED)
class CapVerdict:
    """What real steps under a cap came to (see `suites.engine.cap_probe`).

    Attributes:
        stages: name -> what a row says of its memory, of every stage that was kept.
        same: whether results are the uncapped ones, "bits", or as near as "repetition"; "no": the
            run must be trained.
        exceeded: another stage was not kept.
    """

    stages: dict[str, dict[str, Any]]
    same: Literal["bits", "repetition", "no"]
    exceeded: bool = False

    def write(self, folder: RunFolder) -> None:
        """Into the folder of the run that tried."""
        write_atomically(folder.path / "cap.json", stored(self))


def cap_verdict(folder: RunFolder) -> CapVerdict | None:
    """None where the cap was not tried yet."""
    return read_stored(folder.path / "cap.json", CapVerdict, "delete the file")


def to_try(folder: RunFolder) -> bool:
    """Whether the run is to find out what its cap changes."""
    source, verdict = source_of(folder), cap_verdict(folder)
    is_own = source is not None and source.cap == name_of(folder)
    return is_own and (verdict is None or verdict.exceeded)


def waits(folder: RunFolder) -> bool:
    """Whether the run's row comes with another run, and nothing of its own is left to do."""
    return source_of(folder) is not None and not to_try(folder)


def source_of(folder: RunFolder) -> Source | None:
    """None of a run that is trained itself."""
    remedy = "delete the file, and the suite is planned anew"
    return read_stored(folder.path / "read_off.json", Source, remedy)


def name_of(folder: RunFolder) -> str:
    """The folder relative to the results folder."""
    return "/".join(folder.path.parts[-3:])


def link(folder: RunFolder, source: Source, results: Path) -> None:
    """Notes in all runs' folders where the row will come from."""
    write_atomically(folder.path / "read_off.json", stored(source))
    for name in {source.training, source.cap} - {None, name_of(folder)}:
        followers = results / str(name) / "followers"
        followers.mkdir(parents=True, exist_ok=True)
        write_atomically(followers / folder.path.name, name_of(folder) + "\n")


def unlink(folder: RunFolder) -> None:
    """The run is trained itself."""
    (folder.path / "read_off.json").unlink(missing_ok=True)


def hand_on(folder: RunFolder) -> list[RunFolder]:
    """Writes the rows that can be read off a run by now; returns those that it wrote."""
    results = folder.path.parents[2]
    names = [note.read_text(encoding="utf-8").strip() for note in _notes(folder)]
    return [other for name in names if settle(other := RunFolder(results / name))]


def _notes(folder: RunFolder) -> list[Path]:
    return sorted((folder.path / "followers").glob("[!.]*"))


def settle(folder: RunFolder) -> bool:
    """Writes a run's row if it is to be read off another and that has come so far."""
    try:
        # Nobody else trains it, or writes its row, meanwhile.
        with folder.claim():
            source = source_of(folder)
            if source is None or folder.is_done():
                return False
            return _settle(folder, source)
    except (Claimed, FileNotFoundError):
        return False


def _settle(folder: RunFolder, source: Source) -> bool:
    spec, results = folder.spec(), folder.path.parents[2]
    training, kept, same = source.training, None, ""
    if source.cap is not None:
        verdict = cap_verdict(RunFolder(results / source.cap))
        if verdict is None:
            return False
        kept, same = [verdict.stages.get(stage.name) for stage in spec.stages], verdict.same
        if same == "no" or None in kept:
            # What it came to itself.
            training, kept = source.cap, None
    found = _ended(RunFolder(results / training), spec.stages[-1].name)
    if found is None or training == name_of(folder):
        return False
    row, epochs = found
    row = {k: v for k, v in row.items() if k not in _OF_JOBS}
    if spec.published is None:
        row = {k: v for k, v in row.items() if not _is_published(k)}
    own = {"cap_bytes": spec.cap_bytes, "read_off": training, "finished": now()}
    if kept is not None and row["status"] == "ok":
        own |= _under_cap(row, spec, kept, same)
    folder.write_curves(epochs)
    folder.write_result(row | identity(spec) | own)
    return True


def _ended(training: RunFolder, stage: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Row and curves of a run that ends with this stage; None if that is to come."""
    try:
        found = json.loads(stage_file(training.path, stage).read_text(encoding="utf-8"))
        return found["row"], found["epochs"]
    except FileNotFoundError:
        row = training.result()
    # It ended before that stage did, and so would the other.
    is_end = row is not None and row["status"] != "ok" and training.is_done()
    return (row, _curves(training)) if row is not None and is_end else None


def _under_cap(
    row: Mapping[str, Any], spec: RunSpec, kept: Sequence[Any], same: str
) -> dict[str, Any]:
    """The fields of a capped run's row that are its own."""
    largest = max(kept, key=lambda facts: facts["peak_bytes"])
    near = "equal to the bit" if same == "bits" else "as near as a repetition"
    return {
        "cap_decided_by": f"real steps, {near}",
        "stages": [
            stage | {"test_batch_size": facts["test_batch_size"]}
            for stage, facts in zip(row["stages"], kept, strict=True)
        ],
        "stage_peak_bytes": {
            stage.name: facts["peak_bytes"] for stage, facts in zip(spec.stages, kept, strict=True)
        },
        "measured_peak_bytes": largest["peak_bytes"],
        "measured_reserved_bytes": largest["reserved_bytes"],
        "measured_by": largest["measured_by"],
    }


def _is_published(field: str) -> bool:
    return field.startswith(("published_", "predicted_published_"))


def _curves(folder: RunFolder) -> list[dict[str, Any]]:
    try:
        text = (folder.path / "curves.csv").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(io.StringIO(text)))


def write_stage(
    folder: RunFolder, stage: str, row: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]]
) -> None:
    """The row and curves of a run that would end with this stage."""
    content = json.dumps({"row": dict(row), "epochs": [dict(epoch) for epoch in epochs]})
    write_atomically(stage_file(folder.path, stage), content + "\n")


def stage_file(folder: Path, stage: str) -> Path:
    """Where `write_stage` writes."""
    return folder / f"stage-{stage}.json"
