"""Where a suite's runs on a cluster are: their own files first, then squeue, then what is left.

A run whose job is gone without a row gets one here, so that nothing waits for ever. Where SLURM
cannot be asked, the files alone speak.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurm.ends import said_in_log
from slurm.launcher import Submission
from slurm.queue import QueuedJob, ended_states, queue
from stdcf.errors import UserError
from suites.cluster.ends import log_of, record_end
from suites.cluster.record import ClusterRecord, fresh_row, read_record
from suites.engine.read_off import waits
from suites.engine.store import attempts as book
from suites.engine.store.folder import RunFolder

# A row may be on its way through a network file system for so long after its job has ended; and
# whoever writes a record calls sbatch within it.
SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class ClusterRun:
    """A run and what was found of it.

    Attributes:
        row: None while there is none of the latest submission.
        job: its job in the queue, if it is there.
    """

    folder: RunFolder
    record: ClusterRecord | None
    row: dict[str, Any] | None
    job_id: str | None
    job: QueuedJob | None

    @property
    def is_queued(self) -> bool:
        """Whether it waits or runs, or is being submitted at this moment."""
        if self.row is not None or self.record is None:
            return False
        just_now = self.job_id is None and time.time() - self.record.submitted < SETTLE_SECONDS
        return self.job is not None or (just_now and self.record.folder.exists())


@dataclass
class ClusterView:
    """The queue as it was at one moment, and the runs' files after it.

    Attributes:
        unreachable: why SLURM could not be asked; None if it could.
    """

    jobs: dict[str, QueuedJob] = field(default_factory=dict)
    unreachable: str | None = None
    _ids: dict[Path, str | None] = field(default_factory=dict)

    @classmethod
    def now(cls) -> "ClusterView":
        """Asks squeue, once."""
        try:
            return cls(queue())
        except UserError as error:
            return cls(unreachable=str(error))

    def find(self, folder: RunFolder) -> ClusterRun:
        """What is known of a run."""
        record = read_record(folder)
        row = fresh_row(folder, record)
        if record is None or row is not None:
            return ClusterRun(folder, record, row, None, None)
        job_id = self._job_id(record)
        return ClusterRun(folder, record, row, job_id, self.jobs.get(job_id or ""))

    def _job_id(self, record: ClusterRecord) -> str | None:
        if record.folder not in self._ids:
            found = Submission(record.folder).job_id
            if found is None:
                # Whoever submitted it was killed before it wrote this down; its name is its own.
                ids = (i for i, job in self.jobs.items() if job.name == record.name)
                found = next((i.partition("_")[0] for i in ids), None)
            self._ids[record.folder] = found
        array = self._ids[record.folder]
        return None if array is None else f"{array}_{record.index}"

    def reconcile(self, folders: Sequence[RunFolder]) -> list[ClusterRun]:
        """Every run; those whose job is gone without a row have one now."""
        found = [self.find(folder) for folder in folders]
        if self.unreachable is not None:
            return found
        gone = [i for i, run in enumerate(found) if _is_gone(run)]
        states = ended_states(job_id for i in gone if (job_id := _id_of(found[i])) is not None)
        for i in gone:
            run = found[i]
            assert run.record is not None
            state = states.get(_id_of(run) or "") or self._cancelled_unstarted(run)
            if _is_settled(run, state) and record_end(run.folder, run.record.name, state=state):
                found[i] = self.find(run.folder)
        return found

    def _cancelled_unstarted(self, run: ClusterRun) -> str | None:
        """SLURM's word for a job that was taken out of an array which waits still.

        The controller has no record of one that never was more than a number in its array.
        """
        if run.record is None or run.job_id is None or _last_attempt(run) is not None:
            return None
        array = run.job_id.partition("_")[0]
        waits = any(other.partition("_")[0] == array for other in self.jobs)
        log = Submission(run.record.folder).log(run.record.index, array)
        return "CANCELLED" if waits and not log.exists() else None


def _is_gone(run: ClusterRun) -> bool:
    """Whether it was submitted, has no row, and is not in the queue."""
    is_open = run.record is not None and run.row is None and not run.is_queued
    return is_open and _was_sent(run) and not waits(run.folder)


def _was_sent(run: ClusterRun) -> bool:
    return _id_of(run) is not None


def _id_of(run: ClusterRun) -> str | None:
    """By the submission or, where that was not written down, by the job itself."""
    last = _last_attempt(run)
    return run.job_id or (last.job if last is not None else None)


def _last_attempt(run: ClusterRun) -> book.Attempt | None:
    assert run.record is not None
    mine = [a for a in book.attempts(run.folder) if a.submission == run.record.name]
    return mine[-1] if mine else None


def _is_settled(run: ClusterRun, state: str | None) -> bool:
    """Whether no row can be on its way any more."""
    if state not in (None, "COMPLETED"):
        return True
    assert run.record is not None
    last = _last_attempt(run)
    if said_in_log(log_of(last)) is not None:
        return True
    since = run.record.submitted if last is None else max(last.started, _changed(last))
    return time.time() - since > SETTLE_SECONDS


def _changed(attempt: book.Attempt) -> float:
    try:
        return Path(attempt.log).stat().st_mtime
    except OSError:
        return attempt.started


def where(run: ClusterRun) -> tuple[str, str]:
    """State and one line on it, of a run that is in the queue."""
    assert run.record is not None
    known = book.attempts(run.folder)
    past = [
        f"{n} {words}"
        for how, words in (
            (book.PREEMPTED, "preempted"),
            (book.TIME_LIMIT, "over time"),
            (book.LOST, "lost"),
        )
        if (n := book.number_of(known, how))
    ]
    behind = f" ({', '.join(past)})" if past else ""
    if run.job is None:
        return "sending", ""
    progress = _progress(run.folder)
    if run.job.state == "PENDING":
        reason = run.job.reason or "no reason yet"
        # Held back by SLURM for a while after it was put back.
        return (
            "pending",
            f"job {run.job_id}: {reason}{behind}{f'; at {progress}' if progress else ''}",
        )
    words = [f"job {run.job_id} on {run.job.node}" if run.job.node else f"job {run.job_id}"]
    words += [progress] if progress else []
    return run.job.state.lower(), f"{', '.join(words)}{behind}"


def _progress(folder: RunFolder) -> str:
    state = folder.state()
    if state is None:
        return ""
    text = f"{100 * state.get('fraction', 0):.0f}%"
    if "stage" in state:
        text += f", stage {state['stage']}, epoch {state['epoch']} of {state['epochs']}"
    return text
