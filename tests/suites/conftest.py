"""A small data set, small suites on it as commands, and rows made by hand."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suites.store import REPOSITORY, RunFolder, run_folders

SMALL_RUN = Path(__file__).with_name("small_run.py")


def write_video(path: Path, seed: int, frames: int = 40) -> None:
    """A picture that moves to the left or to the right, by the seed's parity."""
    import av

    picture = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            gray_HW = np.roll(picture, index if seed % 2 else -index, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray_HW, format="gray")))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def video_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four videos, as video_folder takes them."""
    root = tmp_path_factory.mktemp("videos")
    for index in range(8):
        write_video(root / ("right" if index % 2 else "left") / f"{index}.avi", index)
    return root


@dataclass
class Command:
    """A command of ours in a process of its own."""

    process: subprocess.Popen

    def wait_for(self, reached: Callable[[], Any], what: str) -> None:
        """Returns as soon as `reached` is true; fails if the command ends or takes too long."""
        deadline = time.monotonic() + 120
        while not reached():
            if self.process.poll() is not None:
                pytest.fail(f"ended before {what}:\n{self.process.communicate()}")
            if time.monotonic() > deadline:
                pytest.fail(f"waited too long for {what}")
            time.sleep(0.01)

    def children(self) -> list[int]:
        """Process ids of its workers."""
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Exit status, output and errors."""
        try:
            out, err = self.process.communicate(timeout=120)
        finally:
            self.process.kill()
        return self.process.returncode, out, err


@dataclass
class SmallSuite:
    """kth_table2 with two runs of a few seconds: stdcf under ITSL, then regular at full size."""

    root: Path
    results: Path
    env: dict[str, str]

    def start(self, *options: str) -> Command:
        """The command, started."""
        command = [sys.executable, str(SMALL_RUN), "kth_table2", "--dataset", "video_folder"]
        command += ["--data-root", str(self.root), "--results", str(self.results)]
        command += ["--epochs", "3", "--seeds", "1", *options]
        process = subprocess.Popen(
            command,
            env=self.env,
            cwd=REPOSITORY,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return Command(process)

    def folder(self, layer: str) -> RunFolder | None:
        """The run of a layer, once it is there."""
        found = [f for f in run_folders(self.results) if f.path.name.startswith(f"{layer}-")]
        return found[0] if found else None

    def fraction(self, layer: str) -> float:
        """How far the training of a layer is, by its state.json; 0 before its first step."""
        folder = self.folder(layer)
        state = folder.state() if folder else None
        return state["fraction"] if state and state["status"] == "running" else 0.0


MakeSuite = Callable[..., SmallSuite]


@pytest.fixture(scope="session")
def small_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of the commands: a frame cache of their own."""
    cache = tmp_path_factory.mktemp("cache")
    return {**os.environ, "STDCF_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def small_suite(video_root: Path, small_env: dict[str, str], tmp_path: Path) -> SmallSuite:
    """A suite of two small runs in a results folder of its own."""
    return SmallSuite(video_root, tmp_path / "results", small_env)


@pytest.fixture(scope="session")
def undisturbed(
    video_root: Path, small_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What the small suite gives when nothing happens to it, two workers at a time."""
    suite = SmallSuite(video_root, tmp_path_factory.mktemp("undisturbed"), small_env)
    status, out, err = suite.start("--workers", "2").end()
    assert (status, err) == (0, ""), out
    return measured(suite.results)


def measured(results: Path) -> list[dict[str, Any]]:
    """Every row under a results folder with its curves, without times."""
    rows = []
    for folder in run_folders(results):
        row = folder.result() or {}
        curves = (folder.path / "curves.csv").read_text().splitlines()
        # The last two columns are seconds and clips a second.
        curves = [line.rsplit(",", 2)[0] for line in curves]
        rows.append(
            {k: v for k, v in row.items() if k not in TIMINGS} | {"curves": curves}
        )
    return rows


TIMINGS = {"finished", "train_seconds", "wall_seconds"}


@pytest.fixture(scope="session")
def measured_rows() -> Callable[[Path], Sequence[dict[str, Any]]]:
    """`measured`, for tests."""
    return measured
