"""What data workers need of the machine, and how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from stdcf.data.clips import loader, shared_memory
from stdcf.data.clips.clips import ClipDataset, plan_runs
from stdcf.data.clips.loader import batches, check_shared_memory
from stdcf.errors import UserError
from suites import doctor

CLIP_BYTES = 16 * 60 * 80


def dataset(clips: int = 40) -> ClipDataset:
    runs = [(0, np.arange(16))] * clips
    video = np.zeros((16, 1, 60, 80), np.uint8)
    return ClipDataset([video], ["0.avi"], [0], ["x"], plan_runs(runs, 16))


def test_two_batches_ahead_of_each_worker_and_two_in_use() -> None:
    assert shared_memory.needed_bytes(10, 3) == 80
    assert shared_memory.needed_bytes(10, 3, num_batches=5) == 50
    # Kinetics' batch of 77 MB, in Docker's 64 MiB.
    assert doctor._BATCH_BYTES == 77_070_336


def test_too_little_is_said_before_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset()
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 6 * 4 * CLIP_BYTES - 1)
    with pytest.raises(UserError, match=r"/dev/shm has 2 MiB free, but 2 data workers .*shm-size"):
        next(batches(data, 4, num_workers=2))
    with pytest.raises(UserError, match="/dev/shm"):
        check_shared_memory([data], 4, 2)
    check_shared_memory([data], 4, 1)
    check_shared_memory([data], 4, 0)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: None)
    check_shared_memory([data], 4, 2)


class Bare(Dataset):
    """What `batches` needs of a data set, and no more."""

    decodes = False

    def __len__(self) -> int:
        return 8

    def __getitems__(self, indices):
        return (torch.zeros(len(indices), 1), *torch.tensor([indices, indices]))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [None, 0, 1])
def test_a_data_set_without_clip_shape_is_read(num_workers: int | None) -> None:
    check_shared_memory([Bare()], 4, num_workers)
    found = [video_B.tolist() for _, _, video_B in batches(Bare(), 4, num_workers=num_workers)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_workers_of_our_own_choice_become_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset()
    monkeypatch.setattr(ClipDataset, "decodes", True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(9))
    chosen = []
    for free in (10**12, 9 * 4 * CLIP_BYTES, 4 * 4 * CLIP_BYTES):
        monkeypatch.setattr(shared_memory, "free_bytes", lambda free=free: free)
        chosen.append(loader._workers(data, 4, 10, None))
    assert chosen == [8, 3, 1]
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 4 * 4 * CLIP_BYTES - 1)
    with pytest.raises(UserError, match="a data worker needs 1 MiB"):
        loader._workers(data, 4, 10, None)


def test_the_doctor_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 64 * 2**20)
    ((ok, what, detail),) = doctor._shared_memory()
    assert not ok
    assert what == "shared memory"
    assert detail.startswith("/dev/shm, 64 MiB free; a data worker of kinetics_table3 needs 294")


class Full(ClipDataset):
    def __getitems__(self, indices):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space")


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_memory_that_runs_out_later_is_one_line_too() -> None:
    full = dataset()
    full.__class__ = Full
    with pytest.raises(UserError, match="/dev/shm has"):
        next(batches(full, 4, num_workers=1))


HANGING = """
import os, sys, time
from suites.engine import worker
worker._ORPHAN_SECONDS = worker._POLL_SECONDS = 0.2
worker._StopFlag()
worker._die_with(os.getppid())
from stdcf.data.clips.loader import batches
from tests.data.clips.test_workers import dataset
from stdcf.data.clips.clips import ClipDataset
class Hanging(ClipDataset):
    def __getitems__(self, indices):
        open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
        time.sleep(1000)
data = dataset()
data.__class__ = Hanging
next(batches(data, 4, num_workers=1))
"""
RUNNER = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_their_runner_whatever_they_wait_for(
    tmp_path: Path, number: signal.Signals
) -> None:
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, HANGING, str(tmp_path)])
    try:
        give_up = time.monotonic() + 60
        while not any(tmp_path.iterdir()) and time.monotonic() < give_up:
            time.sleep(0.05)
        (file,) = tmp_path.iterdir()
        worker = int(Path(f"/proc/{file.name}/stat").read_text().rpartition(")")[2].split()[1])
        assert worker not in (os.getpid(), runner.pid)
    finally:
        runner.send_signal(number)
        runner.wait()
    give_up = time.monotonic() + 20
    while any(_lives(pid) for pid in (int(file.name), worker)) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not [pid for pid in (int(file.name), worker) if _lives(pid)]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
