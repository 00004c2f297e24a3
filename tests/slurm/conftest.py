"""A real two-node SLURM, and a small suite on it."""

import importlib.util
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from suites.engine.store import attempts as cluster_attempts
from suites.engine.store.folder import RunFolder, run_folders
from suites.paths import REPOSITORY

HERE = Path(__file__).parent
SMALL_GRID = HERE / "small_grid.py"
# Of a busy machine of two cores; an idle one needs a fraction.
PATIENCE_SECONDS = 400.0

PROFILES = """\
partition = "main"
cpus_per_task = 1
tasks_per_node = 1
memory_gib = 2
minutes = 20
signal_seconds = 20
max_preemptions = 5

[cpu]

[gpu]
gpus_per_node = 2
gpu_memory_gib = 16
"""


def _lab_module() -> Any:
    found = importlib.util.spec_from_file_location("slurm_lab", HERE / "lab.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["slurm_lab"] = module
    found.loader.exec_module(module)
    return module


LAB = _lab_module()


def wait_until(reached: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """What `reached` returns, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited too long for {what}")
        time.sleep(0.2)
    return found


@dataclass
class Grid:
    """A suite of one small run a seed, in a results folder of its own, on a cluster."""

    lab: Any
    videos: Path
    results: Path
    env: dict[str, str]
    seeds: int = 1
    epochs: int = 1
    options: tuple[str, ...] = field(default=())
    script: Path = SMALL_GRID

    def command(self, *more: str) -> list[str]:
        """``suites.run`` on this cluster."""
        words = ["kth_table2", "--dataset", "video_folder", "--data-root", str(self.videos)]
        words += ["--results", str(self.results), "--seeds", str(self.seeds)]
        words += ["--epochs", str(self.epochs), *self.options]
        return [sys.executable, str(self.script), *words, *more]

    def slurm(self, *more: str) -> tuple[int, str, str]:
        """``suites.run --executor slurm``: exit status, output and errors."""
        cluster = ["--executor", "slurm", "--cluster", str(self.lab.folder / "cluster.toml")]
        if "--cluster-profile" not in more:
            cluster += ["--cluster-profile", "cpu"]
        return self.call(*self.command(*cluster, *more))

    def module(self, name: str, *more: str) -> tuple[int, str, str]:
        """``suites.NAME kth_table2`` on the results."""
        command = [sys.executable, "-m", f"suites.{name}", "kth_table2"]
        return self.call(*command, "--results", str(self.results), *more)

    def call(self, *command: str) -> tuple[int, str, str]:
        done = subprocess.run(
            command,
            env=self.env,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        return done.returncode, done.stdout, done.stderr

    def folder(self, seed: int = 0) -> RunFolder:
        """The run of a seed."""
        (found,) = [f for f in self.folders() if f"-s{seed}-" in f.path.name]
        return found

    def folders(self) -> list[RunFolder]:
        return run_folders(self.results)

    def row(self, seed: int = 0) -> dict[str, Any] | None:
        return self.folder(seed).result()

    def job(self, seed: int = 0) -> str:
        """The job that runs a seed, once it does."""
        return str(self.attempts(seed)[-1].job)

    def attempts(self, seed: int = 0) -> list[cluster_attempts.Attempt]:
        return cluster_attempts.attempts(self.folder(seed))

    def trains(self, seed: int = 0, fraction: float = 0.0) -> bool:
        """Whether the run's last attempt has trained so far."""
        state, known = self.folder(seed).state(), self.attempts(seed)
        return (
            state is not None
            and bool(known)
            and known[-1].how == cluster_attempts.RUNNING
            and state["updated"] > known[-1].started
            and state["status"] == "running"
            and state["fraction"] > fraction
        )

    @staticmethod
    def wait_until(reached: Callable[[], Any], what: str) -> None:
        wait_until(reached, what)

    def wait_for_training(self, seed: int = 0, fraction: float = 0.0) -> None:
        wait_until(lambda: self.trains(seed, fraction), f"seed {seed} to train")

    def wait_for_row(self, seed: int = 0, status: str = "ok") -> dict[str, Any]:
        """The run's row, which must be of this status."""
        row: dict[str, Any] = wait_until(lambda: self.row(seed), f"a row of seed {seed}")
        assert row["status"] == status, row["reason"]
        return row

    def wait_for_rest(self) -> None:
        """Until the queue is empty, without SLURM's pause before a job starts again.

        As long as it takes, if jobs end.
        """
        while queued := self._hurry():
            wait_until(lambda: self._hurry() != queued, f"the queue to change: {queued}")

    def _hurry(self) -> str:
        """Lets jobs start now that were put back; what is in the queue."""
        lines = self.lab.ask("squeue", "-h", "-r", "-o", "%i|%r|%T")
        for line in lines.splitlines():
            job_id, reason, _ = line.split("|")
            if reason == "BeginTime":
                # "now" itself would be refused as the past.
                update = ["scontrol", "update", f"JobId={job_id}", "StartTime=now+1"]
                subprocess.run(update, env=self.env, capture_output=True, check=False)
        return str(lines)

    def measured(self, seed: int = 0) -> dict[str, Any]:
        """All numbers of a run but times."""
        row = self.row(seed)
        assert row is not None
        kept = ("accuracy", "video_accuracy", "stages", "stage_peak_bytes", "macs", "run_id")
        lines = (self.folder(seed).path / "curves.csv").read_text().splitlines()
        # The last two columns are seconds and clips a second.
        curves = [line.rsplit(",", 2)[0] for line in lines]
        return {name: row[name] for name in kept} | {"curves": curves}


def _start_lab(folder: Path, **options: Any) -> Any:
    why_not = LAB.missing()
    if why_not is not None:
        pytest.skip(f"no SLURM here: {why_not}")
    lab = LAB.Lab(folder, **options)
    (folder / "cluster.toml").write_text(PROFILES)
    return lab


def _on(lab: Any, env: dict[str, str]) -> dict[str, str]:
    """An environment whose SLURM is the lab's, whatever cluster the caller's is of."""
    return {**env, "SLURM_CONF": lab.env["SLURM_CONF"], "PATH": lab.env["PATH"]}


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four videos, as video_folder takes them."""
    write_video = runpy.run_path(str(HERE.parent / "suites" / "conftest.py"))["write_video"]
    root = tmp_path_factory.mktemp("videos")
    for index in range(8):
        write_video(root / ("right" if index % 2 else "left") / f"{index}.avi", index)
    return root


@pytest.fixture(scope="session")
def small_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of commands and jobs."""
    cache = tmp_path_factory.mktemp("cache")
    return {**os.environ, "STDCF_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The cluster of all tests but the one of the large grid."""
    lab = _start_lab(tmp_path_factory.mktemp("lab") / "slurm")
    yield lab
    lab.stop()


@pytest.fixture(scope="session")
def large_grid(
    tmp_path_factory: pytest.TempPathFactory, videos: Path, small_env: dict[str, str]
) -> Iterator[Grid]:
    """Runs of several arrays, sent to a cluster of their own, where they go on beside other tests.

    Each starts a Python of its own, so CI has 24; STDCF_GRID_RUNS=100 is the long version.
    """
    runs = int(os.environ.get("STDCF_GRID_RUNS", "24"))
    chunk = -(-2 * runs // 3)
    lab = _start_lab(tmp_path_factory.mktemp("large") / "slurm")
    env = _on(lab, small_env)
    grid = Grid(lab, videos, tmp_path_factory.mktemp("large_results"), env, seeds=runs)
    status, out, err = grid.slurm(
        "--cluster-option", f"max_array_size={chunk}", "--yes", "--workers", "3"
    )
    assert (status, err) == (0, ""), out
    grid.sent, grid.chunk = out, chunk  # type: ignore[attr-defined]
    yield grid
    lab.stop()


@pytest.fixture
def grid(lab: Any, videos: Path, small_env: dict[str, str], tmp_path: Path) -> Iterator[Grid]:
    """A suite with a results folder of its own; its jobs end with the test."""
    env = _on(lab, small_env)
    yield Grid(lab, videos, tmp_path / "results", env)
    subprocess.run(["scancel", "--user=root"], env=env, check=False)
    for node, state in lab.node_states().items():
        if state.startswith(("down", "drain")):
            lab.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
    wait_until(lambda: lab.ask("squeue", "-h") == "", "the queue to be empty")
