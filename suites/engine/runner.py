"""Runs what is missing, one process a run, and leaves everything resumable."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

from stdcf.data.clips.shared_memory import RUNS_AT_A_TIME
from stdcf.stages.stage import total_cost
from suites.engine.read_off import to_try
from suites.engine.sources import prepare
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.worker import EXIT_CLAIMED, EXIT_SAME, EXIT_STOPPED

_POLL_SECONDS = 0.2
_STOP_SECONDS = 60.0
_CLAIM_RETRY_SECONDS = 5.0


class Display(Protocol):
    """Whoever shows how far the runs are."""

    def update(self, jobs: Sequence["Job"]) -> None: ...

    def ended(self, job: "Job", result: dict[str, Any] | None) -> None: ...


@dataclass
class Job:
    """One run on its way."""

    spec: RunSpec
    folder: RunFolder
    process: subprocess.Popen | None = None
    log_start: int = 0
    fraction: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)
    not_before: float = 0.0
    done: bool = False
    followers: list["Job"] = field(default_factory=list)  # that its process does after it
    row_before: dict[str, Any] | None = None
    is_read_off: bool = False  # of another run, whose process writes its row

    @property
    def cost(self) -> float:
        """Relative computation, for the time left."""
        if self.is_read_off:
            return 0.0
        return total_cost(self.spec.stages) if self.spec.stages else 1.0


def run_missing(
    jobs: Sequence[Job],
    *,
    workers: int,
    device: str,
    data_root: str | None,
    display: Display,
    deadline: float | None = None,
    stop_seconds: float = _STOP_SECONDS,
    short_tasks: Collection[str] = (),
    read_off: Sequence[Job] = (),
) -> bool:
    """Runs the jobs by `workers` processes at a time, in the order given.

    Args:
        read_off: those whose rows come with the others'.
        deadline: `time.monotonic()` at which runs are stopped, resumably.
        stop_seconds: after which those are killed that did not stop.
        short_tasks: tasks of which a process does as many as stand in a row, for its start takes
            longer than they do.

    Returns:
        Whether every job ended with a row; False if the deadline came first.

    Raises:
        KeyboardInterrupt: after the workers have written their checkpoints.
    """
    waiting = list(jobs)
    running: list[Job] = []
    runs = min(workers, len(jobs))
    try:
        while waiting or running:
            if deadline is not None and time.monotonic() >= deadline:
                _stop(running, stop_seconds)
                return False
            running = [_where(job, display) for job in running]
            before, running = running, [job for job in running if not _reap(job, waiting, display)]
            if len(running) < len(before):
                _show_read_off([*jobs, *read_off], display)
            now = time.monotonic()
            ready = [job for job in waiting if job.not_before <= now]
            while ready and len(running) < workers:
                job, *others = ready
                if job.spec.task in short_tasks:
                    job.followers = [*takewhile(lambda one: one.spec.task in short_tasks, others)]
                ready = others[len(job.followers) :]
                for one in (job, *job.followers):
                    waiting.remove(one)
                    one.row_before = one.folder.result()
                job.process = _start(job, device, data_root, runs)
                running.append(job)
            for job in running:
                job.state = job.folder.state() or {}
                job.fraction = job.state.get("fraction", 0.0)
            display.update([*jobs, *read_off])
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        _stop(running, stop_seconds)
        raise
    _show_read_off([*jobs, *read_off], display)
    return True


def _start(job: Job, device: str, data_root: str | None, runs: int = 1) -> subprocess.Popen:
    folders = [str(one.folder.path) for one in (job, *job.followers)]
    command = [sys.executable, "-m", "suites.engine.worker", *folders, "--device", device]
    command += ["--die-with", str(os.getpid())]
    if data_root is not None:
        command += ["--data-root", data_root]
    for one in job.followers:
        one.log_start = one.folder.log_file.stat().st_size if one.folder.log_file.exists() else 0
    with job.folder.log_file.open("ab") as log:
        job.log_start = log.tell()
        # A session of its own: Ctrl-C reaches the runner alone, which then asks each worker to
        # stop.
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": str(job.spec.threads),
                RUNS_AT_A_TIME: str(runs),
            },
        )


def _where(job: Job, display: Display) -> Job:
    """The run that the job's process is at; those before it have ended."""
    while job.followers:
        result = job.folder.result()
        if result is None or result == job.row_before:
            break
        _end(job, result, display)
        following, *rest = job.followers
        following.process, following.followers = job.process, rest
        job.followers = []
        job = following
    return job


def _show_read_off(jobs: Sequence[Job], display: Display) -> None:
    for job in jobs:
        is_open = job.is_read_off and not job.done and job.process is None
        result = job.folder.result() if is_open else None
        if result is not None and result != job.row_before:
            _end(job, result, display)


def _end(job: Job, result: dict[str, Any] | None, display: Display) -> None:
    job.done, job.fraction = True, 1.0
    display.ended(job, result)


def _reap(job: Job, waiting: list[Job], display: Display) -> bool:
    """Whether the job's process ended; decides what becomes of the job."""
    assert job.process is not None
    status = job.process.poll()
    if status is None:
        return False
    # It may have ended some since they were last looked at.
    job = _where(job, display)
    waiting[:0], job.followers = job.followers, []
    if status in (EXIT_CLAIMED, EXIT_STOPPED):
        # Another runner has it (its row will be there) or its worker was told to stop.
        job.not_before = time.monotonic() + _CLAIM_RETRY_SECONDS
        waiting.append(job)
        return True
    if status == EXIT_SAME:
        # Its row comes with the run that it is read off.
        job.process = None
        return True
    result = job.folder.result()
    # A worker may be killed when its row is written, just before its end.
    if status != 0 and not job.folder.is_done():
        result = crash_row(job, status)
        job.folder.write_result(result)
    _end(job, result, display)
    return True


def crash_row(job: Job, status: int) -> dict[str, Any]:
    """The row of a worker that died without one: how, and the last line that it wrote."""
    from suites.engine.store.provenance import header

    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    # Not what an earlier worker wrote.
    log = job.folder.log_file.read_bytes()[job.log_start :]
    lines = log.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    if status == -signal.SIGKILL:
        how += " (by a person, or by the kernel when memory ran out)"
    row = header(job.spec, "cpu" if job.spec.device == "cpu" else "cuda:0")
    return row | {"status": "error", "reason": f"worker {how}: {last:.300}"}


def _stop(running: Sequence[Job], stop_seconds: float) -> None:
    """Asks the workers to write a checkpoint and end; kills those that do not."""
    processes = [job.process for job in running if job.process is not None]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + stop_seconds
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def default_workers(device: str) -> int:
    """One run at a time on a GPU; on CPU as many as there are cores, two at most."""
    return 1 if device.startswith("cuda") else max(min(len(os.sched_getaffinity(0)), 2), 1)


def make_jobs(specs: Sequence[RunSpec], results: Path) -> tuple[list[Job], list[Job], int]:
    """Jobs for the runs without a final row, those that are read off them, and how many have one.

    A run that can be read off an earlier one has its row at the end.
    """
    jobs = [Job(spec, RunFolder.create(results, spec)) for spec in specs]
    sources = prepare([job.folder for job in jobs], specs, results)
    missing = [job for job in jobs if not job.folder.is_done()]
    places: dict[Path, int] = {}
    for place, job in enumerate(missing):
        path = job.folder.path
        job.is_read_off, job.row_before = path in sources, job.folder.result()
        places.setdefault(sources.get(path, path), place)
        places.setdefault(path, place)
    read_off = [job for job in missing if job.is_read_off and not to_try(job.folder)]
    own = [job for job in missing if job not in read_off]
    # A training comes as early as the first that is read off it.
    own.sort(key=lambda job: places[job.folder.path])
    return own, read_off, len(jobs) - len(missing)
