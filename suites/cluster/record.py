"""Which job a run was given, in its own folder: cluster.json, written before sbatch is called."""

import time
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from suites.engine.store.folder import RunFolder
from suites.engine.store.stored import CHECKED, read_stored, stored

# Under the results folder: one folder an array.
ARRAYS = ".cluster"
REQUEST_FILE = "request.json"


@dataclass(frozen=True, config=CHECKED)
class ClusterRecord:
    """The latest submission of a run.

    Attributes:
        submission: folder of the array.
        index: of the run in it.
        needs: the resources, as text.
        replaces: `finished` of the row that there was, which the new one takes the place of.
    """

    submission: str
    index: int
    submitted: float
    needs: str
    replaces: str | None = None

    @property
    def folder(self) -> Path:
        """Of the array."""
        return Path(self.submission)

    @property
    def name(self) -> str:
        """Of the array, and of its jobs."""
        return self.folder.name


def read_record(folder: RunFolder) -> ClusterRecord | None:
    """None of a run that was never submitted.

    Raises:
        UserError: if its file is damaged.
    """
    remedy = "delete the file when none of its jobs is in the queue"
    return read_stored(folder.path / "cluster.json", ClusterRecord, remedy)


def write_record(folder: RunFolder, record: ClusterRecord) -> None:
    """By rename, but not to the disk at once: a run that lost it would be submitted again."""
    path = folder.path / "cluster.json"
    temporary = path.with_name(".cluster.json.tmp")
    temporary.write_bytes(stored(record))
    temporary.replace(path)


def fresh_row(folder: RunFolder, record: ClusterRecord | None) -> dict[str, Any] | None:
    """The run's row, unless it is from before the submission."""
    result = folder.result()
    stale = record is not None and result is not None and result["finished"] == record.replaces
    return None if stale else result


def new_record(
    submission: Path, index: int, needs: str, result: dict[str, Any] | None
) -> ClusterRecord:
    """For a run that is about to be submitted."""
    replaces = None if result is None else result["finished"]
    return ClusterRecord(str(submission), index, time.time(), needs, replaces)
