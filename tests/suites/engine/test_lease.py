"""A claim on a run, when the lock of another machine cannot be seen."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from suites.engine.store import lease
from suites.engine.store.folder import Claimed, RunFolder
from suites.engine.store.lease import held, held_elsewhere


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lease that a process of another machine holds."""
    path = tmp_path / "lease.json"
    with ExitStack() as stack, monkeypatch.context() as there:
        there.setattr(lease, "machine", lambda: "another")
        assert stack.enter_context(held(path))
        there.undo()
        yield path


def test_another_machines_lease_keeps_this_one_away(elsewhere: Path) -> None:
    assert held_elsewhere(elsewhere)
    with held(elsewhere) as is_held:
        assert not is_held
    folder = RunFolder(elsewhere.parent)
    assert folder.is_claimed()
    with pytest.raises(Claimed, match="by another machine"), folder.claim():
        pass


def test_a_lease_that_nobody_renews_runs_out(elsewhere: Path) -> None:
    long_ago = time.time() - lease.LEASE_SECONDS - 1
    os.utime(elsewhere, (long_ago, long_ago))
    assert not held_elsewhere(elsewhere)
    with held(elsewhere) as is_held:
        assert is_held
        assert json.loads(elsewhere.read_text())["machine"] == lease.machine()


def test_a_lease_is_renewed_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)
    path = tmp_path / "lease.json"
    with held(path) as is_held:
        assert is_held
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            pass
        assert path.stat().st_mtime > 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_of_this_machine_left_holds_nobody_up(tmp_path: Path) -> None:
    # Its lock went with it, so whoever has the lock may have the lease.
    content = {"machine": lease.machine(), "pid": 1, "token": "x"}
    (tmp_path / "lease.json").write_text(json.dumps(content))
    folder = RunFolder(tmp_path)
    assert not folder.is_claimed()
    with folder.claim():
        assert folder.is_claimed()
    assert not folder.is_claimed()


def test_of_two_who_find_it_run_out_one_has_it(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = time.time() - lease.LEASE_SECONDS - 1
    os.utime(elsewhere, (long_ago, long_ago))
    rename = Path.rename

    def meanwhile(path: Path, target: Path) -> Path:
        """A third machine is faster by the moment before the rename."""
        monkeypatch.setattr(Path, "rename", rename)
        path.write_text(json.dumps({"machine": "third", "pid": 2, "token": "y"}))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", meanwhile)
    with held(elsewhere) as is_held:
        assert not is_held
    assert json.loads(elsewhere.read_text())["machine"] == "third"
