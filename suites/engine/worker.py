"""One run in one process: ``python -m suites.engine.worker FOLDER``; the runner starts these.

Whatever happens to it ends as a row, or leaves a checkpoint from which the next worker goes on.
Several folders are run one after the other, for runs that are shorter than a process's start.
"""

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stdcf.training.allocator import use_huge_pages
from suites.engine.store.folder import Claimed, RunFolder

EXIT_CLAIMED = 75
EXIT_STOPPED = 76
EXIT_FAILED = 77
# Its row is that of the run without its cap, and comes with it.
EXIT_SAME = 78

_POLL_SECONDS = 1.0
# For the step at hand and a checkpoint, as long as a runner waits for it.
_ORPHAN_SECONDS = 60.0


def main() -> int:
    """Runs what the folders' specs say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--data-root")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--num-workers", type=int, help="data worker processes")
    parser.add_argument("--die-with", type=int, metavar="PID", help="stop when this parent ends")
    parser.add_argument("--claimed", action="store_true", help="the parent holds the run")
    parser.add_argument("--rank", type=int, default=0, help="of the processes of one run")
    arguments = parser.parse_args()
    if arguments.die_with is not None:
        _die_with(arguments.die_with)
    use_huge_pages()
    folder, *others = map(RunFolder, arguments.folders)
    return _run_all(folder, others, arguments) if others else _claim_and_run(folder, arguments)


def _run_all(first: RunFolder, others: Sequence[RunFolder], arguments: argparse.Namespace) -> int:
    """One after the other, until one is stopped, or another worker has it."""
    from suites.engine.process_state import ProcessState

    stop, state = _StopFlag(), ProcessState()
    status = _claim_and_run(first, arguments, stop)
    for folder in others:
        if status or stop():
            break
        with folder.log_file.open("ab") as log:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
                os.dup2(log.fileno(), stream.fileno())
        try:
            state.restore()
        except RuntimeError as error:
            # A new process has the GPU again.
            print(error, file=sys.stderr)
            break
        status = _claim_and_run(folder, arguments, stop)
    else:
        return status
    return status or EXIT_STOPPED


def _claim_and_run(
    folder: RunFolder, arguments: argparse.Namespace, stop: "_StopFlag | None" = None
) -> int:
    if arguments.claimed or arguments.rank:
        return _run(folder, arguments, stop)
    try:
        # A worker whose runner was killed needs a moment to write its last checkpoint.
        with folder.claim(wait_seconds=10):
            if folder.is_done():
                return 0
            status = _run(folder, arguments, stop)
    except Claimed:
        return EXIT_CLAIMED
    if status == EXIT_SAME:
        from suites.engine.read_off import settle

        # The other run may have ended before.
        return 0 if settle(folder) else EXIT_SAME
    return status


def _run(folder: RunFolder, arguments: argparse.Namespace, stop: "_StopFlag | None" = None) -> int:
    stop = stop or _StopFlag()
    started = time.time()
    if arguments.rank == 0:
        folder.write_state(status="starting", pid=os.getpid(), fraction=0.0)

    from stdcf.errors import UserError
    from stdcf.memory.cap import is_out_of_memory
    from stdcf.memory.tracking.tracker import CapExceeded
    from stdcf.training.checkpoint import CheckpointError
    from stdcf.training.trainer import NotFinite, Stopped
    from suites.engine.cap_probe import SameAsUncapped
    from suites.engine.read_off import hand_on
    from suites.engine.registry import get_task
    from suites.engine.store.attempts import counts, write_failure
    from suites.engine.store.provenance import commit
    from suites.engine.task import Run
    from suites.engine.trackers.tracked import track

    commit()  # Remembered: the code that runs is the one of now, whatever is committed meanwhile.

    try:
        run = Run(folder, arguments.device, arguments.data_root, arguments.num_workers, stop)
        row = get_task(run.spec.task)(run)
    except Stopped:
        return EXIT_STOPPED
    except SameAsUncapped:
        hand_on(folder)
        return EXIT_SAME
    except NotFinite as error:
        row = {"status": "nan", "reason": str(error)}
    except CapExceeded as error:
        row = {"status": "cap_exceeded", "reason": str(error), **_peak(error)}
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        row = _out_of_memory(error, folder)
    except CheckpointError as error:
        row = {"status": "error", "reason": f"{error}; delete it to start the run anew"}
    except UserError as error:
        row = {"status": "error", "reason": str(error)}
    if arguments.rank:
        # What every process finds, the first one says; memory may be short in this one alone.
        if row.get("status") not in ("oom", "cap_exceeded"):
            return 0
        write_failure(folder, arguments.rank, row)
        return EXIT_FAILED
    folder.write_result(
        _header(folder, arguments.device)
        | row
        | {"wall_seconds": time.time() - started}
        | counts(folder)
    )
    # What failed before the end of a shorter schedule is its end, too.
    hand_on(folder)
    track(folder)
    return 0


def _header(folder: RunFolder, device: str) -> dict[str, Any]:
    from suites.engine.store.provenance import header

    return header(folder.spec(), device)


def _peak(error: Any) -> dict[str, Any]:
    return {
        "measured_peak_bytes": error.peak_bytes,
        "measured_by": "tracker_cpu",
        "cap_bytes": error.cap_bytes,
        "peak_place": str(error.moment),
        **error.facts,
    }


def _out_of_memory(error: BaseException, folder: RunFolder) -> dict[str, Any]:
    from stdcf.memory.cap import out_of_memory_fields, save_snapshot

    cap_bytes = folder.spec().cap_bytes
    fields = out_of_memory_fields(error)
    on_gpu = fields.get("measured_by") == "cuda_allocated"
    if on_gpu:
        save_snapshot(folder.path / "oom_snapshot.pickle")
    # A capped process has less than the card, so it is the cap that it ran into.
    status = "cap_exceeded" if on_gpu and cap_bytes is not None else "oom"
    reason = str(error).splitlines()[0]
    return {"status": status, "reason": reason, "cap_bytes": cap_bytes, **fields}


class _StopFlag:
    """True once SIGTERM, SIGINT or SIGUSR2 has come; training then stops at the next step."""

    def __init__(self) -> None:
        self._asked = False
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
        for number in numbers:
            signal.signal(number, self._ask)
        # Whoever started this process may have held them back until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def _ask(self, *_: Any) -> None:
        self._asked = True

    def __call__(self) -> bool:
        return self._asked


def _die_with(parent: int) -> None:
    """Asks the kernel for SIGTERM when the parent dies, however it dies (Linux only)."""
    set_parent_death_signal: Callable[..., Any]
    try:
        set_parent_death_signal = ctypes.CDLL(None).prctl
        set_parent_death_signal(1, signal.SIGTERM)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        sys.exit(EXIT_STOPPED)
    threading.Thread(target=_outlive, args=(parent,), daemon=True).start()


def _outlive(parent: int) -> None:
    """Ends this process a while after its parent, should it wait for something that never comes."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    time.sleep(_ORPHAN_SECONDS)
    os._exit(EXIT_STOPPED)


if __name__ == "__main__":
    sys.exit(main())
