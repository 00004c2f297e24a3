"""One run in one process: ``python -m suites.worker FOLDER``; the runner starts these.

Whatever happens to it ends as a row, or leaves a checkpoint from which the next worker goes on.
"""

import argparse
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stdcf.training.allocator import use_huge_pages
from suites.store import Claimed, RunFolder

EXIT_CLAIMED = 75
EXIT_STOPPED = 76


def main() -> int:
    """Runs what the folder's spec says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data-root")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--num-workers", type=int, default=0, help="data worker processes")
    parser.add_argument("--die-with", type=int, metavar="PID", help="stop when this parent ends")
    arguments = parser.parse_args()
    if arguments.die_with is not None:
        _die_with(arguments.die_with)
    use_huge_pages()
    folder = RunFolder(arguments.folder)
    try:
        # A worker whose runner was killed needs a moment to write its last checkpoint.
        with folder.claim(wait_seconds=10):
            if folder.is_done():
                return 0
            return _run(folder, arguments)
    except Claimed:
        return EXIT_CLAIMED


def _run(folder: RunFolder, arguments: argparse.Namespace) -> int:
    stop = _StopFlag()
    started = time.time()
    folder.write_state(status="starting", pid=os.getpid(), fraction=0.0)

    from stdcf.errors import UserError
    from stdcf.memory.tracker import CapExceeded
    from stdcf.training.checkpoint import CheckpointError
    from stdcf.training.trainer import NotFinite, Stopped
    from suites.provenance import commit
    from suites.tasks import get_task

    commit()  # Remembered: the code that runs is the one of now, whatever is committed meanwhile.

    try:
        task = get_task(folder.spec().task)
        row = task(
            folder,
            data_root=arguments.data_root,
            device=arguments.device,
            num_workers=arguments.num_workers,
            should_stop=stop,
        )
    except Stopped:
        return EXIT_STOPPED
    except NotFinite as error:
        row = {"status": "nan", "reason": str(error)}
    except CapExceeded as error:
        row = {"status": "cap_exceeded", "reason": str(error), **_peak(error)}
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        row = {"status": "oom", "reason": str(error).splitlines()[0]}
    except CheckpointError as error:
        row = {"status": "error", "reason": f"{error}; delete it to start the run anew"}
    except UserError as error:
        row = {"status": "error", "reason": str(error)}
    folder.write_result(
        _header(folder, arguments.device) | row | {"wall_seconds": time.time() - started}
    )
    return 0


def _header(folder: RunFolder, device: str) -> dict[str, Any]:
    from suites.execute import header

    return header(folder.spec(), device)


def _peak(error: Any) -> dict[str, Any]:
    return {"measured_peak_bytes": error.peak_bytes, "measured_by": "tracker_cpu"}


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or (
        "can't allocate memory" in str(error) or "not enough memory" in str(error)
    )


class _StopFlag:
    """True once SIGTERM or SIGINT has come; training then stops at the next step."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

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


if __name__ == "__main__":
    sys.exit(main())
