"""How SLURM ended a job, by the lines that it writes into the job's own log."""

import re
from pathlib import Path

# SLURM's word for the state, and what the log says then; the first that is found counts, since
# a job that is ended for any of these is said to be cancelled, too.
_LINES = (
    ("OUT_OF_MEMORY", r"oom[-_ ]kill|exceeded (job |step )?memory limit|Out Of Memory"),
    ("TIMEOUT", r"DUE TO TIME LIMIT"),
    ("NODE_FAIL", r"DUE TO (SLURMD )?NODE FAILURE"),
    ("PREEMPTED", r"DUE TO PREEMPTION"),
    ("CANCELLED", r"\*\*\* (JOB|STEP) \S+ ON \S+ CANCELLED AT"),
)
_READ_BYTES = 8192


def said_in_log(log: str) -> tuple[str, str] | None:
    """SLURM's word for how a job ended, and the line that says so; None of one that does not."""
    for state, pattern in _LINES:
        for line in log.splitlines():
            if re.search(pattern, line, re.IGNORECASE):
                return state, line.strip()
    return None


def log_since(path: Path, start: int = 0) -> str:
    """The last lines of a log from `start` bytes on; empty if there are none."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - _READ_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
