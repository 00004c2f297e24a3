"""What became of a run's jobs, in its own folder: attempts.json, written by the job that runs it.

It is the truth about preemptions and time limits, whatever the cluster remembers.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from stdcf.whole_file import write_atomically
from suites.engine.store.folder import RunFolder
from suites.engine.store.stored import CHECKED, read_stored, stored

RUNNING = "running"
# How an attempt may end beside "ended", with a row.
PREEMPTED, TIME_LIMIT, CANCELLED, LOST = "preempted", "time_limit", "cancelled", "lost"


@dataclass(frozen=True, config=CHECKED)
class Attempt:
    """One start of a job; a job that is put back into the queue starts again.

    Attributes:
        submission: the array's name.
        job: "12_3".
        log_start: where its lines begin in the job's log.
        started, ended: seconds since 1970.
        how: "running", "ended" (with a row), "preempted", "time_limit", "cancelled", or "lost" of
            one that could not say.
    """

    submission: str
    job: str
    restart: int
    node: str
    log: str
    log_start: int
    started: float
    ended: float | None = None
    how: str = RUNNING


def attempts(folder: RunFolder) -> list[Attempt]:
    """Every start of the run on a cluster, the latest last.

    Raises:
        UserError: if its file is damaged.
    """
    remedy = "delete the file, and only its count of interruptions is lost"
    return read_stored(_file(folder), list[Attempt], remedy) or []


def begin(folder: RunFolder, attempt: Attempt) -> list[Attempt]:
    """Adds an attempt; one before it that did not say how it ended is lost."""
    known = [_ended(a, LOST) if a.how == RUNNING else a for a in attempts(folder)]
    return _write(folder, [*known, attempt])


def end(folder: RunFolder, how: str) -> list[Attempt]:
    """Ends the last attempt, if it has not ended."""
    known = attempts(folder)
    if known and known[-1].how == RUNNING:
        known[-1] = _ended(known[-1], how)
        _write(folder, known)
    return known


def number_of(found: Sequence[Attempt], how: str, submission: str | None = None) -> int:
    """How many attempts ended like that, of one submission or of all."""
    return sum(a.how == how and submission in (None, a.submission) for a in found)


def counts(folder: RunFolder) -> dict[str, Any]:
    """The fields of a row that say what it took on a cluster; none of a run that saw none."""
    found = attempts(folder)
    if not found:
        return {}
    return {
        "job": found[-1].job,
        "attempts": len(found),
        "preemptions": number_of(found, PREEMPTED),
        "time_limits": number_of(found, TIME_LIMIT),
        "lost_attempts": number_of(found, LOST),
    }


def write_failure(folder: RunFolder, rank: int, row: dict[str, Any]) -> None:
    """Leaves what failed in one process of several, for the first to make a row of it."""
    content = {**row, "reason": f"process {rank}: {row['reason']}", "written": time.time()}
    write_atomically(folder.path / f"failure-rank{rank}.json", json.dumps(content) + "\n")


def take_failure(folder: RunFolder, since: float) -> dict[str, Any] | None:
    """The earliest failure that another process left, and clears them."""
    found: list[tuple[float, dict[str, Any]]] = []
    for path in folder.path.glob("failure-rank*.json"):
        content = json.loads(path.read_text())
        path.unlink(missing_ok=True)
        written = content.pop("written")
        if written >= since:
            found.append((written, content))
    return min(found, key=lambda item: item[0])[1] if found else None


def _ended(attempt: Attempt, how: str) -> Attempt:
    return replace(attempt, how=how, ended=time.time())


def _write(folder: RunFolder, found: list[Attempt]) -> list[Attempt]:
    write_atomically(_file(folder), stored(found))
    return found


def _file(folder: RunFolder) -> Path:
    return folder.path / "attempts.json"
