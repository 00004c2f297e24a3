"""Runs on disk: whole files, one worker a run, shipped rows behind local ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from stdcf.stages.stage import full_size
from suites import paths
from suites.engine.spec import RunSpec
from suites.engine.store import folder as store
from suites.engine.store.folder import (
    FINAL_STATUSES,
    Claimed,
    RunFolder,
    check_writable,
    write_atomically,
)

STATUSES = ("ok", "oom", "cap_exceeded", "timeout", "preempted", "nan", "error")


def make_spec(seed: int = 0, **changes: Any) -> RunSpec:
    content: dict[str, Any] = {
        "suite": "kth_table2",
        "profile": "quick",
        "dataset": "weizmann",
        "manifest": "ab",
        "model": "kth_cnn",
        "layer": "stdcf",
        "mode": "full",
        "stages": full_size(epochs=1, lr=1e-3),
        "seed": seed,
        "batch_size": 16,
    }
    return RunSpec(**{**content, **changes})


def end(results: Path, spec: RunSpec, **row: Any) -> RunFolder:
    """A run that ended, as a runner leaves it."""
    folder = RunFolder.create(results, spec)
    content = {"status": "ok", "run_id": spec.run_id, "manifest": spec.manifest, "finished": "2"}
    folder.write_result({**content, "accuracy": 0.0, **row})
    return folder


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, old: str | None
) -> None:
    file = tmp_path / "result.json"
    if old is not None:
        write_atomically(file, old)

    def crash(*_: Any, **__: Any) -> None:
        assert (file.read_text() if file.exists() else None) == old
        raise OSError("power is out")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, crash)
        if call == "replace":
            patch.setattr(Path, "replace", crash)
        with pytest.raises(OSError, match="power is out"):
            write_atomically(file, "new")
    assert (file.read_text() if file.exists() else None) == old
    assert [path.name for path in tmp_path.iterdir()] == ([] if old is None else ["result.json"])
    write_atomically(file, "new")
    assert file.read_text() == "new"


def test_a_folder_keeps_its_spec_and_its_files(tmp_path: Path) -> None:
    spec = make_spec()
    folder = RunFolder.create(tmp_path, spec)
    assert folder.path == tmp_path / spec.folder_name
    assert folder.spec() == spec
    assert (folder.result(), folder.state(), folder.is_done()) == (None, None, False)
    folder.write_state(status="running", fraction=0.25)
    state = folder.state()
    assert state is not None
    assert (state["status"], state["fraction"]) == ("running", 0.25)
    folder.write_curves([{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": 1e-17}])
    assert (folder.path / "curves.csv").read_text() == "epoch,loss\n1,0.1\n2,1e-17\n"
    assert RunFolder.create(tmp_path, spec) == folder
    assert store.run_folders(tmp_path) == [folder]
    assert store.run_folders(tmp_path, "other") == []


@pytest.mark.parametrize("status", STATUSES)
def test_what_would_come_out_the_same_is_done(tmp_path: Path, status: str) -> None:
    folder = end(tmp_path, make_spec(), status=status)
    assert folder.is_done() == (status in {"ok", "nan", "cap_exceeded", "oom"})
    assert set(STATUSES) > FINAL_STATUSES


def test_a_spec_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_spec())
    folder.spec_file.write_text('{"suite": 1}')
    with pytest.raises(UserError, match=r"spec\.json: invalid spec: suite: ") as caught:
        folder.spec()
    assert str(folder.path) in str(caught.value)
    assert "\n" not in str(caught.value)


HOLD = """
import sys
from pathlib import Path
from suites.engine.store.folder import RunFolder
with RunFolder(Path(sys.argv[1])).claim():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_claim_is_exclusive_and_dies_with_its_holder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_spec())
    assert not folder.is_claimed()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert folder.is_claimed()
        with pytest.raises(Claimed), folder.claim():
            pytest.fail("two hold it")
        with pytest.raises(Claimed), folder.claim(wait_seconds=0.15):
            pytest.fail("two hold it")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with folder.claim():
            assert folder.is_claimed()
        assert not folder.is_claimed()


def test_a_waiting_claim_gets_it_from_a_killed_holder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, make_spec())
    command = [sys.executable, "-c", HOLD, str(folder.path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        # It dies while the claim below waits, or just before.
        holder.kill()
        with folder.claim(wait_seconds=60):
            pass


def test_is_claimed_makes_no_folder(tmp_path: Path) -> None:
    assert not RunFolder(tmp_path / "none").is_claimed()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results/runs of our own."""
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "runs")
    return tmp_path / "runs"


def shown(results: Path, suite: str | None = None) -> list[tuple[Any, ...]]:
    return [(row["accuracy"], row["shipped"]) for row in store.rows(results, suite)]


def test_local_rows_take_the_place_of_shipped_ones(tmp_path: Path, shipped: Path) -> None:
    local = tmp_path / "local"
    for seed in range(3):
        end(shipped, make_spec(seed), accuracy=0.1 * seed)
    end(local, make_spec(1), accuracy=0.7)
    end(local, make_spec(5), accuracy=0.9)
    RunFolder.create(local, make_spec(6))  # has not ended
    assert shown(local) == [(0.0, True), (0.7, False), (0.2, True), (0.9, False)]
    assert {row["setting"] for row in store.rows(local)} == {"weizmann-quick"}
    assert shown(shipped) == [(0.0, False), (0.1, False), (0.2, False)]
    assert shown(tmp_path / "nothing") == [(0.0, True), (0.1, True), (0.2, True)]


def test_a_local_row_of_other_code_takes_the_place_too(tmp_path: Path, shipped: Path) -> None:
    end(shipped, make_spec(), accuracy=0.1, finished="3")
    end(tmp_path, make_spec(batch_size=8), accuracy=0.2, finished="1")
    assert shown(tmp_path) == [(0.2, False)]


@pytest.mark.parametrize("batch_size", [8, 9, 10, 11])
def test_of_two_versions_the_latest_counts(tmp_path: Path, shipped: Path, batch_size: int) -> None:
    end(tmp_path, make_spec(batch_size=batch_size), accuracy=0.1, finished="2026-01-01T00:00:00Z")
    end(tmp_path, make_spec(), accuracy=0.2, finished="2026-01-02T00:00:00Z")
    assert shown(tmp_path) == [(0.2, False)]


def test_rows_of_other_clips_are_not_lost(tmp_path: Path, shipped: Path) -> None:
    end(shipped, make_spec(), accuracy=0.1)
    end(tmp_path, make_spec(manifest="cd"), accuracy=0.2)
    assert sorted(shown(tmp_path)) == [(0.1, True), (0.2, False)]


def test_suites_with_the_same_run_keep_their_rows(tmp_path: Path, shipped: Path) -> None:
    end(tmp_path, make_spec(), accuracy=0.1)
    end(tmp_path, make_spec(suite="other"), accuracy=0.2)
    assert shown(tmp_path) == [(0.1, False), (0.2, False)]
    assert shown(tmp_path, "other") == [(0.2, False)]


@pytest.mark.parametrize("folder", ["file/results", "file", "/proc/results", "/proc/a/b"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("a regular file")
    with pytest.raises(UserError, match=r"cannot write to .*; choose another folder with --out"):
        check_writable(tmp_path / folder, "--out")
    assert (tmp_path / "file").read_text() == "a regular file"


def test_checking_a_folder_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
