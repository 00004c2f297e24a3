"""The row of a run whose job ended without one: why, as far as anything says so."""

from pathlib import Path
from typing import Any

from slurm.ends import log_since, said_in_log
from suites.cluster.record import fresh_row, read_record
from suites.engine.store.attempts import (
    CANCELLED,
    PREEMPTED,
    TIME_LIMIT,
    Attempt,
    attempts,
    counts,
    end,
    take_failure,
)
from suites.engine.store.folder import Claimed, RunFolder

_STATES = {
    "OUT_OF_MEMORY": "host_oom",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "NODE_FAIL": "node_fail",
    "BOOT_FAIL": "node_fail",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
}
_MEANING = {
    "host_oom": "host memory: over the job's --mem",
    "timeout": "ended by the time limit",
    "node_fail": "its node failed",
    "preempted": "preempted, and not put back into the queue",
    "cancelled": "cancelled",
}
_CLAIM_SECONDS = 15.0


def ended_row(log: str, state: str | None = None, exit_status: int | None = None) -> dict[str, Any]:
    """Status and reason from what SLURM wrote into the log, and from its word for the state."""
    said = said_in_log(log)
    # A job over its memory, or one whose node went, is said to be cancelled in its log, too.
    word = said[0] if said and (said[0] != "CANCELLED" or state not in _STATES) else state
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = f"{said[1] if said else lines[-1]:.300}" if lines else ""
    status = _STATES.get(word or "")
    if status is not None:
        reason = _MEANING[status]
    else:
        how = [f"state {state}"] if state else []
        how += [f"exit status {exit_status}"] if exit_status is not None else []
        status = "error"
        reason = f"the job ended without a row ({', '.join(how) or 'it left no trace'})"
    return {"status": status, "reason": f"{reason}: {telling}" if telling else reason}


def record_end(
    folder: RunFolder, submission: str, *, state: str | None = None, exit_status: int | None = None
) -> bool:
    """Writes the row of a run whose job of this submission ended without one.

    Args:
        state: SLURM's word for how it ended, where that is known.
        exit_status: srun's, where that is known.

    Returns:
        False if there is nothing to write: the run has its row, goes on later, or goes on now.
    """
    try:
        with folder.claim(wait_seconds=_CLAIM_SECONDS):
            return _record(folder, submission, state, exit_status)
    except (Claimed, FileNotFoundError):
        return False


def _record(folder: RunFolder, submission: str, state: str | None, exit_status: int | None) -> bool:
    known = [a for a in attempts(folder) if a.submission == submission]
    last = known[-1] if known else None
    if folder.is_done() or _has_row(folder, last):
        end(folder, "ended")
        return False
    if exit_status is not None and _goes_on(last):
        return False
    failure = take_failure(folder, last.started) if last else None
    row = failure or ended_row(log_of(last), state, exit_status)
    end(folder, CANCELLED if row["status"] == "cancelled" else "ended")
    write_row(folder, row, last.job if last else None)
    return True


def _has_row(folder: RunFolder, last: Attempt | None) -> bool:
    """Whether the last attempt has its row, and not only one before it."""
    row = fresh_row(folder, read_record(folder))
    return row is not None and (last is None or row.get("attempts") == len(attempts(folder)))


def _goes_on(last: Attempt | None) -> bool:
    """Whether the job, at its end, is on its way back into the queue."""
    if last is not None and last.how in (PREEMPTED, TIME_LIMIT):
        return True
    # Then SLURM puts it back, or the next look at the queue finds that it did not.
    said = said_in_log(log_of(last))
    return said is not None and said[0] in ("PREEMPTED", "NODE_FAIL")


def write_row(folder: RunFolder, row: dict[str, Any], job: str | None = None) -> None:
    """Writes a row that no worker wrote."""
    from suites.engine.store.provenance import header

    spec = folder.spec()
    where = f"job {job}: " if job else ""
    fields = {"status": row["status"], "reason": f"{where}{row['reason']}"}
    own = {"device": spec.device, "cap_bytes": spec.cap_bytes}
    folder.write_result(header(spec, "cpu") | own | row | fields | counts(folder))


def log_of(attempt: Attempt | None) -> str:
    """What the job and SLURM wrote in an attempt."""
    return "" if attempt is None else log_since(Path(attempt.log), attempt.log_start)
