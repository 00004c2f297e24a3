"""The runner: stopped, killed, doubled; and rows of runs that fail."""

import os
import signal
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stdcf.stages.stage import full_size
from suites import run
from suites.engine import runner, session
from suites.engine.request import make_request
from suites.engine.store.folder import RunFolder, run_folders
from suites.engine.suite import Request
from suites.experiments.kth_table2 import suite as kth_table2
from suites.experiments.shared import kth

# Python reads this at its start: it notes every result.json that a process puts into its place.
NOTE_RESULTS = """
import os, sys

def note(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith("result.json"):
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(f"{arguments[1]}\\n")

sys.addaudithook(note)
"""


@pytest.mark.slow
def test_what_is_stopped_goes_on_and_what_is_killed_is_run_again(
    small_suite: Any, undisturbed: Any, tmp_path: Path
) -> None:
    # The budget ends before the first worker is up.
    status, out, err = small_suite.start("--budget-minutes", "0.02").end()
    assert (status, err) == (1, "")
    assert "time is up; nothing is lost, the same command goes on" in out
    assert "0 of 2 runs ok, 0 not ok, 2 not run" in out

    # Ctrl-C while a run is trained.
    command = small_suite.start("--workers", "1")
    command.wait_for(small_suite.trains(command, "regular"), "a step of regular")
    command.process.send_signal(signal.SIGINT)
    status, out, err = command.end()
    # Typer's newer versions end with 130 by themselves, the older ones leave the words to us.
    assert (status, err.strip() in ("", "error: interrupted")) == (130, True)
    split, said, stopped = out.splitlines()
    assert split.startswith("Split at random")
    assert said.startswith("kth_table2: 2 runs to do, 1 at a time; Ctrl-C")
    assert "stopped; nothing is lost" in stopped
    assert small_suite.statuses() == {"regular": None, "stdcf": None}
    assert (small_suite.folder("regular").path / "checkpoint.pt").exists()
    assert not small_suite.folder("regular").is_claimed()

    # A worker is killed: its run is an error, the other one goes on.
    command = small_suite.start("--workers", "1")
    command.wait_for(small_suite.trains(command, "regular"), "a step of regular")
    (worker,) = command.workers()
    os.kill(worker, signal.SIGKILL)
    status, out, err = command.end()
    assert (status, err) == (1, "")
    assert small_suite.statuses() == {"regular": "error", "stdcf": "ok"}
    assert "worker killed by SIGKILL" in small_suite.folder("regular").result()["reason"]
    assert "1 of 2 runs ok, 1 not ok, 0 not run" in out

    # Two runners at once: the run is done once, and both end with the whole table.
    (tmp_path / "sitecustomize.py").write_text(NOTE_RESULTS)
    notes = tmp_path / "notes"
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    both = replace(small_suite, env={**small_suite.env, "PYTHONPATH": path, "NOTES": str(notes)})
    for status, out, err in [c.end() for c in [both.start("--workers", "1") for _ in range(2)]]:
        assert (status, err) == (0, "")
        assert "not run" not in out.replace("  not run  ", "")
    assert notes.read_text() == f"{small_suite.folder('regular').path / 'result.json'}\n"
    assert small_suite.measured() == undisturbed.measured()


def test_nothing_is_run_twice(call: Any, small_suite_here: Any, undisturbed: Any) -> None:
    here = replace(small_suite_here, results=undisturbed.results)
    before = {folder: folder.path.stat().st_mtime_ns for folder in run_folders(here.results)}
    status, out, err = call(run, *here.arguments())
    assert (status, err) == (0, "")
    assert "all 2 runs of kth_table2 are done; nothing to run" in out
    assert before == {f: f.path.stat().st_mtime_ns for f in run_folders(here.results)}


def test_a_cap_leaves_rows_that_say_where(call: Any, small_suite_here: Any) -> None:
    status, out, err = call(run, *small_suite_here.arguments(), "--cap", "1MiB")
    assert (status, err) == (1, "")
    assert small_suite_here.statuses() == {"regular": "cap_exceeded", "stdcf": "cap_exceeded"}
    assert "0 of 2 runs ok, 2 not ok, 0 not run" in out
    for folder in run_folders(small_suite_here.results):
        row = folder.result()
        assert folder.spec().cap_bytes == 2**20
        assert row["measured_peak_bytes"] > 2**20
        assert "over the cap of 1.0 MiB (" in row["reason"]
        assert "blocks." in row["reason"]
        # A note below the table says it too.
        assert f"{row['layer']} {row['mode']} seed 0: cap_exceeded (" in out
    status, out, _ = call(run, *small_suite_here.arguments(), "--cap", "1MiB")
    assert status == 1
    assert "nothing to run" in out


def test_a_run_that_diverges_is_a_row_and_the_suite_goes_on(
    call: Any, small_suite_here: Any, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = kth_table2.SUITE

    def specs(*arguments: Any) -> list[Any]:
        regular, stdcf = small.specs(*arguments)
        return [stdcf.model_copy(update={"stages": full_size(epochs=2, lr=1e30)}), regular]

    monkeypatch.setattr(kth_table2, "SUITE", replace(small, specs=specs))
    status, out, err = call(run, *small_suite_here.arguments())
    assert (status, err) == (1, "")
    assert small_suite_here.statuses() == {"regular": "ok", "stdcf": "nan"}
    assert "1 of 2 runs ok, 1 not ok, 0 not run" in out
    row = small_suite_here.folder("stdcf").result()
    assert row["reason"].startswith(("loss is nan in stage full", "loss is inf in stage full"))
    # A row of a failed run says where it came from, as any other.
    assert {"commit", "device", "dtype", "manifest", "seed", "run_id"} <= row.keys()
    # Within this process, and beside a run that failed, the other gives the same digits.
    assert small_suite_here.measured()[0] == undisturbed.measured()[0]


def test_clips_that_changed_since_are_an_error_that_says_so(
    call: Any, small_suite_here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = kth_table2.SUITE
    monkeypatch.setattr(
        kth_table2,
        "SUITE",
        replace(small, specs=lambda request, manifest: small.specs(request, "0" * 64)),
    )
    status, out, err = call(run, *small_suite_here.arguments())
    assert (status, err) == (1, "")
    assert small_suite_here.statuses() == {"regular": "error", "stdcf": "error"}
    assert "are not those that this run was made for" in out


def test_a_damaged_checkpoint_is_an_error_with_its_remedy(call: Any, small_suite_here: Any) -> None:
    suite = kth_table2.SUITE
    request = make_request(suite, None, "video_folder", seeds=1, epochs=3)
    arguments = (small_suite_here.root, small_suite_here.results)
    specs = session.Session(suite, request, *arguments).specs
    jobs, _, done = runner.make_jobs(specs[:1], small_suite_here.results)
    assert (len(jobs), done) == (1, 0)
    (jobs[0].folder.path / "checkpoint.pt").write_bytes(b"half a checkpo")
    process = runner._start(jobs[0], "cpu", str(small_suite_here.root))
    assert process.poll() == 0
    row = jobs[0].folder.result()
    assert row is not None
    assert row["status"] == "error"
    assert "checkpoint.pt" in row["reason"]
    assert "delete it" in row["reason"]


def test_the_row_of_a_crash_holds_the_last_line_of_that_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = kth.specs(Request(profile="quick", dataset="kth"), "ab" * 32)[0]
    job = runner.Job(spec, RunFolder.create(tmp_path, spec))
    job.folder.log_file.write_text("of an earlier worker\n")

    def popen(words: bytes) -> Any:
        return lambda command, *, stdout, **_: stdout.write(words)

    monkeypatch.setattr(runner.subprocess, "Popen", popen(b"Traceback\n  line\nKeyError: 3\n\n"))
    runner._start(job, "cpu", None)
    row = runner.crash_row(job, 1)
    assert (row["status"], row["run_id"], row["manifest"]) == ("error", spec.run_id, spec.manifest)
    assert row["reason"] == "worker exit status 1: KeyError: 3"
    monkeypatch.setattr(runner.subprocess, "Popen", popen(b""))
    runner._start(job, "cpu", None)
    assert runner.crash_row(job, -9)["reason"] == (
        "worker killed by SIGKILL (by a person, or by the kernel when memory ran out): no output"
    )


@pytest.mark.parametrize(
    ("device", "cores", "workers"), [("cpu", 8, 2), ("cpu", 1, 1), ("cuda:0", 8, 1)]
)
def test_default_workers(
    monkeypatch: pytest.MonkeyPatch, device: str, cores: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert runner.default_workers(device) == workers


def test_a_worker_that_dies_after_its_row_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = kth.specs(Request(profile="quick", dataset="kth"), "ab" * 32)[0]
    job = runner.Job(spec, RunFolder.create(tmp_path, spec))

    def start(*_: Any) -> Namespace:
        job.folder.write_result({"status": "ok", "accuracy": 0.5})
        return Namespace(poll=lambda: -signal.SIGKILL)

    monkeypatch.setattr(runner, "_start", start)
    display = Namespace(update=lambda _: None, ended=lambda *_: None)
    assert runner.run_missing([job], workers=1, device="cpu", data_root=None, display=display)
    assert job.folder.result() == {"status": "ok", "accuracy": 0.5}


@pytest.mark.parametrize("module", ["suites.engine.worker", "suites.engine.runner"])
def test_watching_a_run_does_not_import_torch(module: str) -> None:
    """A job's first process only watches the worker, within the job's memory."""
    words = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", words], check=True)
