"""What data workers need of the machine, and how they end."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from typer.testing import CliRunner

from stdcf.data.clips import loader, shared_memory
from stdcf.data.clips.clips import ClipDataset, plan_runs
from stdcf.data.clips.loader import batches, check_shared_memory
from stdcf.data.clips.shared_memory import Load, check_runs
from stdcf.errors import UserError
from suites import doctor, run
from suites.engine import runner, session
from tests.data.trees import kinetics_csv

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


def test_runs_at_a_time_share_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset()
    monkeypatch.setattr(ClipDataset, "decodes", True)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 10 * 4 * CLIP_BYTES)
    chosen = []
    for cores, runs in ((8, 1), (8, 2), (9, 3), (2, 2), (1, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: range(cores))
        monkeypatch.setenv(shared_memory.RUNS_AT_A_TIME, str(runs))
        assert shared_memory.default_workers(runs) == shared_memory.default_workers()
        chosen.append((shared_memory.default_workers(), loader._workers(data, 4, 99, None)))
    # The memory holds ten batches, as four workers need; a half of it those of one.
    assert chosen == [(7, 4), (3, 1), (2, 1), (1, 1), (0, 0)]


def test_it_is_checked_for_all_runs_of_a_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    monkeypatch.setattr(ClipDataset, "decodes", True)
    load = Load.of(dataset())
    assert load == Load(items=40, views=1, clip_bytes=CLIP_BYTES)
    # Three views of a batch of seven clips are two items; of five there are three batches.
    views = Load(items=5, views=3, clip_bytes=10)
    assert (load.least_bytes(4), views.least_bytes(7)) == (4 * 4 * CLIP_BYTES, 3 * 6 * 10)
    free = 2 * load.least_bytes(4)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: free)
    check_runs([(load, 4), (views, 7)], at_a_time=2)
    with pytest.raises(UserError, match=r"of 3 runs at a time need .*, or give --workers 2\.$"):
        check_runs([(load, 4), (views, 7)], at_a_time=3)
    with pytest.raises(UserError, match=r"/dev/shm has 2 MiB free, but a data worker needs"):
        check_runs([(load, 4), (load, 9)], at_a_time=1)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_suite_says_it_once_before_its_first_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 2**20)
    monkeypatch.setattr(session, "_check_models", lambda *_: None)
    monkeypatch.setattr(runner, "_start", lambda *_: pytest.fail("a run was started"))
    kinetics_csv(tmp_path / "data")
    words = ["kinetics_table3", "--profile", "quick", "--data-root", str(tmp_path / "data")]
    said = CliRunner().invoke(run.app, [*words, "--results", str(tmp_path / "results")])
    assert isinstance(said.exception, UserError)
    line = str(said.exception)
    assert re.match(r"/dev/shm has 1 MiB free, but a data worker needs .*--shm-size", line)
    assert not list(tmp_path.rglob("result.json"))


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
