"""A suite whose runner and workers are killed again and again ends as if nothing had happened.

STDCF_KILLS=200 is the long version, whose figures docs/robustness.md shows; STDCF_KILLS_SEED draws
other moments.
"""

import hashlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from suites.engine.store.folder import FINAL_STATUSES, run_folders

KILLS = int(os.environ.get("STDCF_KILLS", "5"))
SEED = int(os.environ.get("STDCF_KILLS_SEED", "0"))

pytestmark = pytest.mark.slow


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def strike(kind: str, runner: int) -> None:
    """Kills what the kind says of a runner and its workers."""
    workers = children(runner)
    if kind == "worker":
        for worker in workers:
            kill(worker, signal.SIGKILL)
    elif kind == "all":
        # Neither sees the other end, as when the power goes.
        kill(runner, signal.SIGSTOP)
        for worker in workers:
            kill(worker, signal.SIGKILL)
        kill(runner, signal.SIGKILL)
    else:
        numbers = {"runner": signal.SIGKILL, "term": signal.SIGTERM, "ctrl-c": signal.SIGINT}
        kill(runner, numbers[kind])


def half_written(path: Path) -> str | None:
    """Why what a reader finds under a name is not whole; None if it is, or is not there."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if path.suffix == ".pt":
        magic, _, rest = content.partition(b"\n")
        whole = magic == b"stdcf-checkpoint-1" and hashlib.sha256(rest[32:]).digest() == rest[:32]
        return None if whole else f"{path}: {len(content)} bytes"
    if path.suffix == ".json":
        try:
            json.loads(content)
        except ValueError as error:
            return f"{path}: {error}"
        return None
    # A run that is stopped before its first epoch ends has no line yet.
    return (
        None if content.endswith(b"\n") or not content else f"{path}: ends with {content[-20:]!r}"
    )


@contextmanager
def read_all_the_time(results: Path) -> Iterator[None]:
    """Reads every file that a run has, over and over; fails if one was ever half written."""
    faults: list[str] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.wait(0.02):
            for folder in run_folders(results):
                for path in [folder.path / "lease.json", *folder.path.glob("[!.]*")]:
                    if path.suffix in (".pt", ".json", ".csv"):
                        faults.extend(filter(None, [half_written(path)]))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        ended.set()
        reader.join()
    assert faults == []


def finished(suite: Any) -> dict[Path, bytes]:
    """The rows that nothing may change any more."""
    found = {}
    for folder in run_folders(suite.results):
        row = folder.result()
        if row is not None and row["status"] in FINAL_STATUSES:
            found[folder.path] = (folder.path / "result.json").read_bytes()
    return found


def run(zygote: Any, suite: Any) -> None:
    """Without anything that happens."""
    status = zygote.wait(zygote.start(suite, "--workers", "1"))
    assert status == 0, suite.results.with_suffix(".log").read_text()


@pytest.fixture(scope="module")
def reference(
    zygote: Any, no_results: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, float]:
    """What the suite gives when nothing happens, and how long it takes."""
    folder = tmp_path_factory.mktemp("reference")
    # The first one loads what the second has at hand.
    for number in range(2):
        suite = no_results.anew(folder, number)
        started = time.monotonic()
        run(zygote, suite)
    return suite.measured(), time.monotonic() - started


def test_killed_at_any_moment_it_goes_on_and_changes_no_digit(
    zygote: Any, no_results: Any, reference: tuple[Any, float], tmp_path: Path
) -> None:
    random_ = random.Random(SEED)
    struck: Counter[str] = Counter()
    missed = rounds = 0
    wanted, latest = reference
    while sum(struck.values()) < KILLS:
        suite = no_results.anew(tmp_path, rounds)
        rounds += 1
        while sum(struck.values()) < KILLS:
            before = finished(suite)
            kind = random_.choice(("runner", "worker", "all", "term", "ctrl-c", "boundary"))
            moment, workers = random_.uniform(0, latest), random_.choice("12")
            env = {"BOUNDARY": f"worker {random_.randint(1, 40)}"} if kind == "boundary" else {}
            with read_all_the_time(suite.results):
                runner = zygote.start(suite, "--workers", workers, **env)
                if kind != "boundary":
                    time.sleep(moment)
                    strike(kind, runner)
                status = zygote.wait(runner)
            after = finished(suite)
            assert before.items() <= after.items(), (kind, moment)
            if status == 0:
                # It had ended before.
                missed, latest = missed + 1, 0.7 * latest
                break
            struck[kind], latest = struck[kind] + 1, 1.1 * latest
        else:
            run(zygote, suite)
        assert suite.measured() == wanted, (struck, suite.results)
    print(f"\n{sum(struck.values())} kills of {rounds} suites, {missed} came too late: {struck}")


def test_the_power_goes_at_each_boundary_in_turn(
    zygote: Any, no_results: Any, reference: tuple[Any, float], tmp_path: Path
) -> None:
    """Before and after every sync and every rename of what a worker writes, one after another."""
    suite = no_results.anew(tmp_path, 0)
    step = 1 if "STDCF_KILLS" in os.environ else 13
    boundary, status = 1, -signal.SIGKILL
    while status != 0:
        before = finished(suite)
        with read_all_the_time(suite.results):
            env = {"BOUNDARY": f"worker {boundary}"}
            status = zygote.wait(zygote.start(suite, "--workers", "1", **env))
        assert status in (0, -signal.SIGKILL), suite.results.with_suffix(".log").read_text()
        assert before.items() <= finished(suite).items()
        boundary += step
    print(f"\nkilled at {(boundary - 1) // step - 1} boundaries up to {boundary - 2 * step}")
    assert suite.measured() == reference[0]


@pytest.mark.parametrize("runners", [2, 8])
def test_runners_side_by_side_do_every_run_once(
    zygote: Any, no_results: Any, reference: tuple[Any, float], tmp_path: Path, runners: int
) -> None:
    """One of them dies while it holds a claim; the others take over."""
    suite, notes = no_results.anew(tmp_path, 0), tmp_path / "notes"
    env = {"NOTES": str(notes)}
    dying = zygote.start(suite, "--workers", "1", BOUNDARY="worker 20", **env)
    others = [zygote.start(suite, "--workers", "1", **env) for _ in range(runners - 1)]
    statuses = [zygote.wait(runner) for runner in (dying, *others)]
    # Where another one had a run first, there may have been too little left to die of.
    assert statuses[0] in (0, -signal.SIGKILL)
    assert statuses[1:] == [0] * (runners - 1), suite.results.with_suffix(".log").read_text()
    written = sorted(notes.read_text().splitlines())
    assert written == sorted(f"{f.path} ok" for f in run_folders(suite.results))
    assert suite.measured() == reference[0]
