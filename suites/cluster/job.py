"""A run as a job: the local worker, started, watched and, when SLURM wants the node, stopped.

SLURM's warning (USR2) or TERM reaches the worker, which writes a checkpoint at the next step and
ends; the job then puts itself back into the queue, and goes on from there when it starts again.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.job import Ended, Interruptions, SlurmJob, current_job
from slurm.memory import oom_kills
from suites.cluster.code_version import code_version
from suites.cluster.ends import log_of, record_end, write_row
from suites.engine.read_off import settle
from suites.engine.runner import Job, crash_row
from suites.engine.store import attempts as book
from suites.engine.store.folder import Claimed, RunFolder
from suites.engine.worker import EXIT_FAILED, EXIT_SAME, EXIT_STOPPED

_POLL_SECONDS = 0.1
_SAME = "its row comes with the run without its cap"
# An earlier start of this job on another machine, cut off from the controller, may hold the run.
_CLAIM_SECONDS = 150.0
# How long the processes of a run have to say why they failed.
_FAILURE_SECONDS = 5.0
_PASSED_ON = (signal.SIGUSR2, signal.SIGTERM)
# SLURM may signal the worker once more when Python has put its handlers away at its end.
_INTERRUPTED = (EXIT_STOPPED, *(-number for number in _PASSED_ON))


@dataclass(frozen=True)
class RunOnCluster:
    """What one job does; pickled at the submission.

    Attributes:
        folder: the run's.
        submission: name and folder of the array.
        device: "cpu" or "cuda"; each process takes the GPU of its own number on its node.
        num_workers: processes that load data.
        code: `code_version` of the submission; other code refuses to run.
        minutes, signal_seconds: the job's time limit, and how long before it SLURM warns.
    """

    folder: Path
    submission: Path
    device: str
    data_root: str | None
    num_workers: int
    code: str
    minutes: int
    signal_seconds: int
    max_preemptions: int
    max_time_limits: int

    def __call__(self) -> str:
        """Runs what the folder's spec says, as one of the job's processes."""
        interruptions, job = Interruptions(), current_job()
        folder = RunFolder(self.folder)
        if folder.is_done():
            return "done before"
        if job.rank:
            return self._follow(job, folder, interruptions)
        try:
            with folder.claim(wait_seconds=_CLAIM_SECONDS) as lock:
                how = self._lead(job, folder, interruptions, lock)
        except Claimed:
            return "another process has it"
        if how == _SAME:
            # The other run may have ended before.
            settle(folder)
        return how

    def failed(self, ended: Ended) -> None:
        """After the job's processes ended badly: sees to it that there is a row."""
        folder = RunFolder(self.folder)
        record_end(folder, self.submission.name, exit_status=ended.status)

    def _lead(
        self, job: SlurmJob, folder: RunFolder, interruptions: Interruptions, lock: int
    ) -> str:
        """The run's first process, which holds the claim and alone writes."""
        if folder.is_done():
            return "done before"
        book.begin(folder, self._attempt(job))
        refusal = self._refusal()
        if refusal is not None:
            write_row(folder, {"status": "error", "reason": refusal}, job.job_id)
            book.end(folder, "ended")
            return "refused"
        local = Job(folder.spec(), folder)
        started, before, killed_before = time.time(), folder.result(), oom_kills()
        status = self._run_worker(job, local, interruptions, [lock])
        has_row = folder.result() not in (None, before)
        if status in _INTERRUPTED and interruptions and not has_row:
            failure = book.take_failure(folder, started)
            if failure is None:
                return self._put_back(job, folder, interruptions)
        elif status == EXIT_SAME:
            book.end(folder, "ended")
            return _SAME
        elif status == 0 or has_row:
            book.end(folder, "ended")
            return "ended"
        else:
            failure = _failure_of_another(folder, started, job.size)
        if failure is None:
            crash = crash_row(local, status)
            # The kernel may have taken the worker alone.
            short = status == -signal.SIGKILL and oom_kills() > killed_before
            failure = crash | ({"status": "host_oom"} if short else {})
        write_row(folder, failure, job.job_id)
        book.end(folder, "ended")
        return "failed"

    def _follow(self, job: SlurmJob, folder: RunFolder, interruptions: Interruptions) -> str:
        """Any other process of the run."""
        local = Job(folder.spec(), folder)
        status = self._run_worker(job, local, interruptions, [])
        if status == 0 or interruptions:
            return "ended"
        if status != EXIT_FAILED:
            reason = crash_row(local, status)["reason"]
            book.write_failure(folder, job.rank, {"status": "error", "reason": reason})
        # A bad end, so that SLURM ends the others, which may wait for this one.
        sys.exit(EXIT_FAILED)

    def _run_worker(
        self, job: SlurmJob, local: Job, interruptions: Interruptions, keep_open: list[int]
    ) -> int:
        """Exit status of the worker; it has been told of what interrupted this process."""
        process = self._start(job, local, keep_open)
        told = False
        while (status := process.poll()) is None:
            if interruptions and not told:
                process.terminate()
                told = True
            time.sleep(_POLL_SECONDS)
        return status

    def _start(self, job: SlurmJob, local: Job, keep_open: list[int]) -> subprocess.Popen:
        spec = local.spec
        device = self.device if self.device == "cpu" else f"{self.device}:{job.local_rank}"
        command = [
            sys.executable,
            "-m",
            "suites.engine.worker",
            str(self.folder),
            "--device",
            device,
        ]
        command += ["--rank", str(job.rank), "--claimed", "--die-with", str(os.getpid())]
        command += ["--num-workers", str(self.num_workers)]
        if self.data_root is not None:
            command += ["--data-root", self.data_root]
        if spec.ranks > 1:
            job.export_distributed()
        with local.folder.log_file.open("ab") as log:
            local.log_start = log.tell()
            # SLURM signals every process of a job: what comes before the worker can take it waits.
            signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
            try:
                return subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    pass_fds=keep_open,
                    env={
                        **os.environ,
                        "PYTHONUNBUFFERED": "1",
                        "OMP_NUM_THREADS": str(spec.threads),
                    },
                )
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)

    def _put_back(self, job: SlurmJob, folder: RunFolder, interruptions: Interruptions) -> str:
        """Back into the queue, unless the job was cancelled or interrupted too often."""
        log = log_of(book.attempts(folder)[-1])
        how = interruptions.kind(job, self.minutes, self.signal_seconds, log)
        if how == "node_fail":
            # SLURM puts it back itself, or not at all.
            book.end(folder, book.LOST)
            return how
        found = book.end(folder, how)
        if how == book.CANCELLED:
            write_row(folder, {"status": "cancelled", "reason": "cancelled"}, job.job_id)
            return how
        times = book.number_of(found, how, self.submission.name)
        limit = self.max_time_limits if how == book.TIME_LIMIT else self.max_preemptions
        status = "timeout" if how == book.TIME_LIMIT else "preempted"
        words = "reached its time limit" if how == book.TIME_LIMIT else "was preempted"
        again = "timeout" if how == book.TIME_LIMIT else "failed"
        remedy = f"its checkpoint is kept, and suites.status --resubmit {again} goes on"
        if times > limit:
            reason = f"{words} {times} times, and {limit} are allowed; {remedy}"
            write_row(folder, {"status": status, "reason": reason}, job.job_id)
            return how
        refused = job.requeue()
        if refused is not None:
            reason = f"{words}, and the cluster did not put it back ({refused}); {remedy}"
            write_row(folder, {"status": status, "reason": reason}, job.job_id)
        return how

    def _attempt(self, job: SlurmJob) -> book.Attempt:
        log = self.submission / f"{job.job_id}_0_log.out"
        return book.Attempt(
            submission=self.submission.name,
            job=job.job_id,
            restart=job.restart,
            node=job.node,
            log=str(log),
            log_start=log.stat().st_size if log.exists() else 0,
            started=time.time(),
        )

    def _refusal(self) -> str | None:
        """Why this code may not run, if it may not."""
        found = code_version()
        if found == self.code:
            return None
        return (
            f"the code that runs ({found}) is not what was submitted ({self.code}): send the run "
            "again with suites.status --resubmit failed"
        )


def _failure_of_another(folder: RunFolder, since: float, size: int) -> dict[str, Any] | None:
    """What failed in another process, which may be about to say so."""
    deadline = time.monotonic() + (_FAILURE_SECONDS if size > 1 else 0)
    while True:
        found = book.take_failure(folder, since)
        if found is not None or time.monotonic() >= deadline:
            return found
        time.sleep(_POLL_SECONDS)
