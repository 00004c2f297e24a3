"""What SLURM knows of jobs: squeue, scontrol and, where there is one, sacct."""

import os
import pwd
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from stdcf.errors import UserError

_TIMEOUT_SECONDS = 60.0
_SACCT_TIMEOUT_SECONDS = 20.0
_ARRAY = re.compile(r"(\d+)_\[([\d,:-]+)(?:%\d+)?\]")


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits or runs.

    Attributes:
        state: SLURM's word, such as PENDING or RUNNING.
        reason: why it waits.
        node: where it runs.
    """

    name: str
    state: str
    reason: str
    node: str


def queue() -> dict[str, QueuedJob]:
    """Job id ("12_3" of an array) -> job, of all of this user's that have not ended.

    Raises:
        UserError: if SLURM does not answer.
    """
    user = pwd.getpwuid(os.getuid()).pw_name
    command = ["squeue", "--noheader", f"--user={user}", "--format=%i|%T|%N|%r|%j"]
    lines = _ask(command).splitlines()
    jobs = {}
    for line in lines:
        ids, state, node, reason, name = line.split("|", 4)
        if state in ENDED:
            continue
        for job_id in expand(ids):
            jobs[job_id] = QueuedJob(name, state, "" if reason == "None" else reason, node)
    return jobs


# SLURM's words for jobs that will not run any more.
ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)


def expand(ids: str) -> list[str]:
    """Every job of "12", "12_3" or "12_[3-5,8%4]"."""
    match = _ARRAY.fullmatch(ids)
    if match is None:
        return [ids]
    found = []
    for part in match[2].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        found += [
            f"{match[1]}_{n}" for n in range(int(first), int(last or first) + 1, int(step or 1))
        ]
    return found


def ended_states(job_ids: Iterable[str]) -> dict[str, str]:
    """Job id -> SLURM's word for how it ended, as far as it is known still.

    The controller forgets ended jobs after some minutes; where there is accounting, sacct is asked
    for those.
    """
    wanted = set(job_ids)
    if not wanted:
        return {}
    arrays = sorted({job_id.partition("_")[0] for job_id in wanted})
    states: dict[str, str] = {}
    for array in arrays:
        for facts in _show(array):
            job_id = facts["JobId"]
            if "ArrayJobId" in facts:
                ids = f"{facts['ArrayJobId']}_{facts.get('ArrayTaskId', '')}"
                if not facts.get("ArrayTaskId", "").isdecimal():
                    ids = re.sub(r"_(.*)", r"_[\1]", ids)
            else:
                ids = job_id
            states |= dict.fromkeys(expand(ids), facts["JobState"])
    missing = sorted({i.partition("_")[0] for i in wanted - states.keys()})
    if missing:
        states |= _sacct(missing)
    return {i: states[i] for i in wanted if states.get(i, "") in ENDED}


def _sacct(arrays: list[str]) -> dict[str, str]:
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State"]
    try:
        done = subprocess.run(
            [*command, f"--jobs={','.join(arrays)}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_SACCT_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        # No accounting here, or it is down.
        return {}
    states: dict[str, str] = {}
    for line in done.stdout.splitlines():
        ids, _, state = line.partition("|")
        if state:
            states |= dict.fromkeys(expand(ids), state.split()[0])
    return states


def show_job(job_id: str) -> dict[str, str] | None:
    """What the controller says of a job, or None if it does not know it (any more)."""
    return next(iter(_show(job_id)), None)


def _show(job_id: str) -> list[dict[str, str]]:
    try:
        text = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", job_id],
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in text.splitlines()]
    return [facts for facts in found if "JobId" in facts]


def largest_array() -> int | None:
    """How many jobs an array may have; None if SLURM does not say."""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask(["scontrol", "show", "config"]), re.M)
    return int(match[1]) if match else None


def _ask(command: list[str]) -> str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS
        ).stdout
    except FileNotFoundError as error:
        raise UserError(
            f"no {command[0]} on this machine; run this on a login node of the cluster"
        ) from error
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())
        raise UserError(f"{command[0]} failed: {said or error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{command[0]} did not answer in {_TIMEOUT_SECONDS:.0f} s") from error
