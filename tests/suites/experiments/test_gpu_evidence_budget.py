"""gpu_evidence's whole list under a clock that the test moves, by workers that only pretend."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from suites import results, run
from suites.engine import runner, session
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.engine.worker import EXIT_STOPPED
from suites.experiments.gpu_evidence import suite as gpu_evidence
from suites.experiments.gpu_evidence.tables import ITEMS, item

START_SECONDS = 8.0
SECONDS = {"gpu_machine": 6, "gpu_compiled": 60, "gpu_throughput": 15}


@dataclass
class Clock:
    now: float = 0.0
    done: list[str] = field(default_factory=list)  # the runs that ended, in order

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Worker:
    """Ends its runs one after the other as the clock goes on; takes a second to stop."""

    def __init__(self, clock: Clock, folders: list[RunFolder]) -> None:
        self.clock, self.folders = clock, folders
        self.at = clock.now + START_SECONDS
        self.status: int | None = None

    def poll(self) -> int | None:
        while self.status is None and self.folders:
            spec = self.folders[0].spec()
            end = self.at + SECONDS.get(spec.task, 9)
            if end > self.clock.now:
                return None
            row = {key: getattr(spec, key) for key in ("suite", "profile", "dataset", "model")}
            row |= {key: getattr(spec, key) for key in ("layer", "mode", "seed", "manifest")}
            row |= {"status": "ok", "run_id": spec.run_id, "finished": f"{end:09.1f}"}
            row |= {"device": "cuda:0 pretended", "dtype": "float32", "commit": "0" * 40}
            self.folders.pop(0).write_result(row | {"summary": "pretended"})
            self.clock.done.append(spec.folder_name)
            self.at = end
        return self.status if self.status is not None else 0

    def terminate(self) -> None:
        self.status = EXIT_STOPPED

    def wait(self, timeout: float) -> int:
        self.clock.now += min(timeout, 1.0)
        return EXIT_STOPPED


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A machine with a GPU, as far as the runner asks."""
    clock = Clock()
    for module in (run, runner, session):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(
        runner,
        "_start",
        lambda job, *_: Worker(clock, [one.folder for one in (job, *job.followers)]),
    )
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "pretended")
    suite = replace(gpu_evidence.SUITE, tables=lambda rows: [])
    monkeypatch.setattr(gpu_evidence, "SUITE", suite)
    return clock


def wanted() -> list[str]:
    request = Request(profile="paper", dataset="none", device="cuda:0")
    return [spec.folder_name for spec in gpu_evidence.specs(request, "none")]


def test_the_budget_is_kept_and_the_next_call_goes_on_in_order(
    clock: Clock, call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    here, there, tar = tmp_path / "here", tmp_path / "there", tmp_path / "rows.tar"
    options = ["--budget-minutes", "4", "--archive", str(tar)]
    status, out, err = call(run, "gpu_evidence", *options, "--results", str(here))
    assert (status, err) == (1, "")
    assert "time is up; nothing is lost" in out
    assert f"{len(clock.done)} runs in" in out
    first = list(clock.done)
    assert first == wanted()[: len(first)]
    # The start, then run upon run in one process: nothing is left of the time but its end.
    assert 240 - gpu_evidence.SUITE.stop_seconds - session._TABLES_SECONDS - 9 < clock.now <= 240
    assert len(first) >= (240 - START_SECONDS - 15 - 6) // 9

    # Elsewhere, from the archive.
    status, out, err = call(results, "import", str(tar), "--results", str(there))
    assert (status, err) == (0, "")
    calls = 1
    while status or calls == 1:
        started = clock.now
        status, out, err = call(run, "gpu_evidence", *options, "--results", str(there))
        assert err == ""
        assert clock.now - started <= 240
        calls += 1
        assert calls < 12
    assert clock.done == wanted()


def test_items_come_in_the_order_of_their_value() -> None:
    request = Request(profile="paper", dataset="weizmann", device="cuda:0")
    found = [spec.model_dump() for spec in gpu_evidence.specs(request, "ab" * 32)]
    items = [item(row) for row in found]
    order = list(ITEMS)
    assert items == sorted(items, key=order.index)
    assert set(items) == set(ITEMS)
    # Table 2's rows for a seed, then for the next; then the controls.
    trained = [row for row in found if row["dataset"] == "weizmann"]
    seeds = [row["seed"] for row in trained if row["mode"] in ("full", "itsl")]
    assert seeds == sorted(seeds)
    assert [row["seed"] for row in trained[: len(seeds)]] == seeds
    assert [row["seed"] for row in trained].count(0) == 12


def test_a_process_that_dies_takes_one_run_with_it(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(profile="paper", dataset="none", device="cuda:0")
    specs = gpu_evidence.specs(request, "none")[:5]
    jobs, *_ = runner.make_jobs(specs, tmp_path)
    starts = []

    def start(job: runner.Job, *_: Any) -> Worker:
        worker = Worker(clock, [one.folder for one in (job, *job.followers)])
        starts.append([one.spec.mode for one in (job, *job.followers)])
        if len(starts) == 1:
            # It does two and dies in the third.
            poll = worker.poll

            def dying() -> int | None:
                status = poll()
                return -11 if len(clock.done) == 2 else status

            worker.poll = dying  # type: ignore[method-assign]
        job.folder.log_file.touch()
        for one in job.followers:
            one.folder.log_file.touch()
        return worker

    monkeypatch.setattr(runner, "_start", start)
    ended = []

    class Display:
        def update(self, jobs: Any) -> None: ...

        def ended(self, job: runner.Job, result: Any) -> None:
            ended.append((job.spec.mode, result["status"]))

    assert runner.run_missing(
        jobs,
        workers=1,
        device="cuda:0",
        data_root=None,
        display=Display(),
        short_tasks=gpu_evidence.SUITE.short_tasks,
    )
    modes = [spec.mode for spec in specs]
    assert starts == [modes, modes[3:]]
    assert ended == [(mode, "error" if i == 2 else "ok") for i, mode in enumerate(modes)]
    assert "SIGSEGV" in jobs[2].folder.result()["reason"]
