"""Runners and workers that start within milliseconds, for tests that kill hundreds of them.

A process that has imported everything once; each command of ours is a fork of it, and each worker
a fork of its runner, where `suites.engine.runner` would start a new Python. Its suite is that of
small_run.py with an eighth of the clips, and rows hold no predictions, which cost seconds and
follow from the spec alone. All else is the code itself.
Started with a folder of videos; one JSON a line says what to do:
{"start": [arguments of suites.run], "env": {...}, "out": file} is answered by a process id,
{"wait": process id} by its exit status.

Of the environment, BOUNDARY="worker 3" kills the worker, and the runner with it, at the third of
the moments just before or after a file is synced or renamed; "runner 3" the runner alone. AS_BYTES
limits the address space of workers beyond what they have at their start; NOTES names a file that
gets a line for every row that a worker writes; CUDA_ERROR a layer whose runs end in one.
"""

import json
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import suites.engine.store.attempts
import suites.engine.store.provenance
import suites.engine.train
import suites.experiments.kth_table2.suite
import suites.experiments.shared.kth
import suites.run
from stdcf.data.clips.shared_memory import RUNS_AT_A_TIME
from suites.cli import run
from suites.engine import runner, worker
from suites.engine.store.folder import RunFolder

SMALL_RUN = runpy.run_path(str(Path(__file__).with_name("small_run.py")))


class Forked:
    """What `subprocess.Popen` is to the runner."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None

    def poll(self) -> int | None:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout or 600)
        while (status := self.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert status is not None, "it does not end"
        return status

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def fork(main: Callable[[], Any], out: Path, env: dict[str, str]) -> int:
    """The process id of a new process that calls `main` and ends with its status."""
    pid = os.fork()
    if pid:
        return pid
    status: Any = 1
    try:
        os.setsid()
        os.environ.update(env)
        files = (
            os.open(os.devnull, os.O_RDONLY),
            os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        )
        for number, file in enumerate((files[0], files[1], files[1])):
            os.dup2(file, number)
        # Those of before may go, and must not close these then.
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        status = main()
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def start_worker(job: runner.Job, device: str, data_root: str | None, runs: int) -> Forked:
    """Instead of `runner._start`; of so many runs at a time."""
    arguments = [str(job.folder.path), "--device", device, "--die-with", str(os.getpid())]
    arguments += [] if data_root is None else ["--data-root", data_root]
    environment = {"THP_MEM_ALLOC_ENABLE": "0", RUNS_AT_A_TIME: str(runs)}

    def main() -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _die_at_boundary("worker")
        if "AS_BYTES" in os.environ:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + int(os.environ["AS_BYTES"])
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        if "NOTES" in os.environ:
            _note_rows(Path(os.environ["NOTES"]))
        if os.environ.get("CUDA_ERROR") == job.spec.layer:
            suites.engine.train.Trainer = no_gpu  # type: ignore[assignment,misc]
        sys.argv = ["worker", *arguments]
        return worker.main()

    job.log_start = job.folder.log_file.stat().st_size if job.folder.log_file.exists() else 0
    return Forked(fork(main, job.folder.log_file, environment))


def dataset_options(_: Any) -> dict[str, Any]:
    return {"size": [16, 16], "clip_frames": 8, "train_step": 8}


def run_suite(arguments: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _die_at_boundary("runner")
    sys.argv = ["suites.run", *arguments]
    run(suites.run.app)


def no_gpu(*_: Any, **__: Any) -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def _note_rows(notes: Path) -> None:
    write = RunFolder.write_result

    def noted(folder: RunFolder, row: dict[str, Any]) -> None:
        with notes.open("a") as file:
            file.write(f"{folder.path} {row['status']}\n")
        write(folder, row)

    RunFolder.write_result = noted  # type: ignore[method-assign,assignment]


def _die_at_boundary(process: str) -> None:
    who, _, number = os.environ.get("BOUNDARY", "").partition(" ")
    if who != process:
        return
    left = int(number)

    def boundary() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            if who == "worker":
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            boundary()
            found = call(*arguments)
            boundary()
            return found

        return called

    os.fsync = around(os.fsync)
    Path.replace = around(Path.replace)  # type: ignore[method-assign]


def main() -> None:
    for owner, name, value in SMALL_RUN["PATCHES"]:
        setattr(owner, name, value)
    suites.experiments.kth_table2.suite.SUITE = replace(
        suites.experiments.kth_table2.suite.SUITE, dataset_options=dataset_options
    )
    suites.experiments.shared.kth.dataset_options = dataset_options  # type: ignore[assignment]
    suites.engine.train.predictions = lambda *_: {}
    runner._start = start_worker  # type: ignore[assignment]
    runner._POLL_SECONDS = 0.02
    runner._CLAIM_RETRY_SECONDS = 0.1
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer = os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1])
        else:
            main_ = partial(run_suite, asked["start"])
            answer = fork(main_, Path(asked["out"]), asked["env"])
        print(answer, flush=True)


if __name__ == "__main__":
    main()
