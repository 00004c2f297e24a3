"""A job from within: which it is, what interrupts it, and how it goes back into the queue."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from slurm.ends import said_in_log
from slurm.queue import show_job

_STARTED = time.time()
# SLURM's own clock of time limits ticks once a minute: a warning may come that much too early.
_TICK_SECONDS = 60.0
_REQUEUE_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Ended:
    """How the processes of a job ended, for whoever looks after it.

    Attributes:
        status: srun's exit status.
    """

    job_id: str
    status: int


@dataclass(frozen=True)
class SlurmJob:
    """One process of a running job.

    Attributes:
        job_id: "12_3" of an array.
        restart: how often the job was put back into the queue before.
        rank, size: of this process among the job's.
    """

    job_id: str
    restart: int
    rank: int
    size: int
    local_rank: int
    node: str

    def export_distributed(self) -> None:
        """Sets MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE and LOCAL_RANK for torch.distributed."""
        from submitit.helpers import TorchDistributedEnvironment

        # Its CUDA_VISIBLE_DEVICES would be the local rank, whichever GPUs SLURM gave to the job.
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)

    def requeue(self) -> str | None:
        """Puts the job back into the queue, which ends it; why not, if it is not there now."""
        try:
            subprocess.run(
                ["scontrol", "requeue", self.job_id],
                capture_output=True,
                text=True,
                check=True,
                timeout=_REQUEUE_TIMEOUT_SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            # A preemption may have put it back already.
            facts = show_job(self.job_id) or {}
            if int(facts.get("Restarts", "0")) > self.restart or facts.get("JobState") == "PENDING":
                return None
            said = getattr(error, "stderr", None) or str(error)
            return " ".join(said.split())
        return None


def current_job() -> SlurmJob:
    """The job that this process belongs to.

    Raises:
        RuntimeError: outside of a job.
    """
    env = os.environ
    if "SLURM_JOB_ID" not in env:
        raise RuntimeError("not within a SLURM job")
    array = env.get("SLURM_ARRAY_JOB_ID")
    return SlurmJob(
        job_id=f"{array}_{env['SLURM_ARRAY_TASK_ID']}" if array else env["SLURM_JOB_ID"],
        restart=int(env.get("SLURM_RESTART_COUNT", "0")),
        rank=int(env.get("SLURM_PROCID", "0")),
        size=int(env.get("SLURM_NTASKS", "1")),
        local_rank=int(env.get("SLURM_LOCALID", "0")),
        node=env.get("SLURMD_NODENAME", ""),
    )


class Interruptions:
    """Notes what asks the job to end: USR2, SLURM's warning, and TERM."""

    def __init__(self) -> None:
        self._first: signal.Signals | None = _EARLY[0] if _EARLY else None
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._note)

    def __bool__(self) -> bool:
        return self._first is not None

    def _note(self, number: int, _: Any) -> None:
        if self._first is None:
            self._first = signal.Signals(number)

    def kind(self, job: SlurmJob, minutes: int, signal_seconds: int, log: str) -> str:
        """What it was: "preempted", "time_limit", "cancelled", or "node_fail".

        The controller is asked, and the job's log read; where neither says so, time decides.

        Args:
            minutes: the job's time limit.
            signal_seconds: how long before it SLURM warns.
            log: what this start of the job wrote so far.
        """
        facts = show_job(job.job_id) or {}
        if facts.get("PreemptTime", "None") not in ("None", "Unknown", "N/A"):
            return "preempted"
        said = said_in_log(log)
        state = said[0] if said else facts.get("JobState")
        if state in ("CANCELLED", "NODE_FAIL"):
            return state.lower()
        left = _seconds_left(facts, minutes)
        warned = self._first is signal.SIGUSR2 and left <= signal_seconds + _TICK_SECONDS
        return "time_limit" if state == "TIMEOUT" or warned else "preempted"


def _seconds_left(facts: dict[str, str], minutes: int) -> float:
    """Until the job's time limit, by the controller or else by this process's own clock."""
    try:
        end = time.mktime(time.strptime(facts.get("EndTime", ""), "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        end = _STARTED + 60 * minutes
    return end - time.time()


_EARLY: list[signal.Signals] = []


def note_early_signals() -> None:
    """Keeps a signal from killing the process before there are `Interruptions`."""
    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, lambda n, _: _EARLY.append(signal.Signals(n)))
