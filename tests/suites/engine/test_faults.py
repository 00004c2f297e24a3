"""What a full disk, short memory or a broken GPU leaves of a suite: a row each, or one line."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suites.engine.store.folder import run_folders

pytestmark = pytest.mark.slow


def test_a_worker_out_of_host_memory_is_a_row(zygote: Any, no_results: Any, tmp_path: Path) -> None:
    suite = no_results.anew(tmp_path)
    assert zygote.wait(zygote.start(suite, "--workers", "1", AS_BYTES=str(2**24))) == 1
    rows = [folder.result() for folder in run_folders(suite.results)]
    assert {row["status"] for row in rows if row} <= {"oom", "error"}
    assert len(rows) == 2
    assert all(row and row["reason"] for row in rows)
    print([row["reason"] for row in rows if row])


def test_a_cuda_error_is_a_row_and_the_suite_goes_on(
    zygote: Any, no_results: Any, tmp_path: Path
) -> None:
    suite = no_results.anew(tmp_path)
    assert zygote.wait(zygote.start(suite, "--workers", "1", CUDA_ERROR="regular")) == 1
    assert suite.statuses() == {"regular": "error", "stdcf": "ok"}
    assert "CUDA error: an illegal memory access" in suite.folder("regular").result()["reason"]
    # Run again by the next call, for which it did not come.
    assert zygote.wait(zygote.start(suite, "--workers", "1")) == 0
    assert suite.statuses() == {"regular": "ok", "stdcf": "ok"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system of its own takes the right to mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


# Room for nothing, for what is written before training, and for less than a checkpoint.
@pytest.mark.parametrize("room", [0, 16, 96])
def test_a_full_disk_loses_nothing(
    zygote: Any, no_results: Any, small_disk: Path, tmp_path: Path, room: int
) -> None:
    suite = no_results.anew(small_disk)
    log = suite.results.with_suffix(".log")
    log.symlink_to(tmp_path / "log")
    filling = small_disk / "filling"
    with filling.open("wb") as file:
        while chunk := _written(file):
            assert chunk > 0
    with filling.open("r+b") as file:
        file.truncate(filling.stat().st_size - room * 1024)
    status = zygote.wait(zygote.start(suite, "--workers", "1"))
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "No space left on device" in said
    assert status in (1, 2)
    before = {f.path: f.result() for f in run_folders(suite.results) if f.is_done()}
    filling.unlink()
    assert zygote.wait(zygote.start(suite, "--workers", "1")) == 0
    assert suite.statuses() == {"regular": "ok", "stdcf": "ok"}
    assert all(f.result() == before.get(f.path, f.result()) for f in run_folders(suite.results))


def _written(file: Any) -> int:
    try:
        return int(file.raw.write(bytes(4096)))
    except OSError:
        return 0
