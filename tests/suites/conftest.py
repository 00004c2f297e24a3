"""A small data set, and a small suite on it: as a command of its own, or within the test."""

import json
import os
import runpy
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suites.engine.store.folder import RunFolder, run_folders
from suites.paths import REPOSITORY

SMALL_RUN = Path(__file__).with_name("small_run.py")
# What two runs of the same spec may differ in.
CIRCUMSTANCES = {"finished", "train_seconds", "wall_seconds", "commit", "dirty"}


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


@pytest.fixture(scope="session")
def small_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of the commands: one thread, and a frame cache of their own."""
    cache = tmp_path_factory.mktemp("cache")
    return {**os.environ, "STDCF_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


@dataclass
class Command:
    """A command of ours in a process of its own."""

    process: subprocess.Popen
    started: float = field(default_factory=time.time)

    def wait_for(self, reached: Callable[[], Any], what: str) -> None:
        """Returns as soon as `reached` is true; fails if the command ends or takes too long."""
        deadline = time.monotonic() + 600
        while not reached():
            if self.process.poll() is not None:
                pytest.fail(f"ended before {what}:\n{self.process.communicate()}")
            if time.monotonic() > deadline:
                pytest.fail(f"waited too long for {what}")
            time.sleep(0.01)

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found]

    def end(self) -> tuple[int, str, str]:
        """Exit status, output and errors."""
        try:
            out, err = self.process.communicate(timeout=600)
        finally:
            self.process.kill()
        return self.process.returncode, out, err


@dataclass
class SmallSuite:
    """kth_table2 with two runs of a few seconds: regular at full size, then stdcf under ITSL."""

    root: Path
    results: Path
    env: dict[str, str]

    def anew(self, folder: Path, number: int = 0) -> "SmallSuite":
        """With neither results nor decoded frames, in a folder."""
        env = {**self.env, "STDCF_CACHE": str(folder / f"cache{number}")}
        return replace(self, results=folder / f"results{number}", env=env)

    def arguments(self) -> list[str]:
        """Of `suites.run`."""
        words = ["kth_table2", "--dataset", "video_folder", "--data-root", str(self.root)]
        return [*words, "--results", str(self.results), "--epochs", "2", "--seeds", "1"]

    def start(self, *options: str) -> Command:
        """The command, started."""
        return Command(
            subprocess.Popen(
                [sys.executable, str(SMALL_RUN), *self.arguments(), *options],
                env=self.env,
                cwd=REPOSITORY,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )

    def folder(self, layer: str) -> RunFolder | None:
        """The run of a layer, once it is there."""
        found = [f for f in run_folders(self.results) if f.path.name.startswith(f"{layer}-")]
        return found[0] if found else None

    def trains(self, command: Command, layer: str, fraction: float = 0.0) -> Callable[[], bool]:
        """Whether a worker of this command has trained the layer's run so far."""

        def reached() -> bool:
            folder = self.folder(layer)
            state = folder.state() if folder else None
            return (
                state is not None
                and state["updated"] > command.started
                and state["status"] == "running"
                and state["fraction"] > fraction
            )

        return reached

    def statuses(self) -> dict[str, str | None]:
        """Layer -> status of its row, None while there is none."""
        results = {f.path.name.split("-")[0]: f.result() for f in run_folders(self.results)}
        return {layer: result and result["status"] for layer, result in results.items()}

    def measured(self) -> list[dict[str, Any]]:
        """Every row with its curves, without times."""
        rows = []
        for folder in run_folders(self.results):
            row = {k: v for k, v in (folder.result() or {}).items() if k not in CIRCUMSTANCES}
            curves = (folder.path / "curves.csv").read_text().splitlines()
            # The last two columns are seconds and clips a second.
            rows.append(row | {"curves": [line.rsplit(",", 2)[0] for line in curves]})
        return rows


@pytest.fixture
def small_suite(video_root: Path, small_env: dict[str, str], tmp_path: Path) -> SmallSuite:
    """A small suite in a results folder of its own."""
    return SmallSuite(video_root, tmp_path / "results", small_env)


@pytest.fixture(scope="session")
def no_results(video_root: Path, small_env: dict[str, str]) -> SmallSuite:
    """A small suite to be given results of its own."""
    return SmallSuite(video_root, Path("nowhere"), small_env)


@dataclass
class Zygote:
    """The process of zygote.py."""

    process: subprocess.Popen

    def ask(self, **words: Any) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        found: int = json.loads(self.process.stdout.readline())
        return found

    def start(self, suite: SmallSuite, *options: str, **env: str) -> int:
        """The process id of a runner of the small suite."""
        log = suite.results.with_suffix(".log")
        env["STDCF_CACHE"] = suite.env["STDCF_CACHE"]
        return self.ask(start=[*suite.arguments(), *options], out=str(log), env=env)

    def wait(self, pid: int) -> int:
        return self.ask(wait=pid)


@pytest.fixture(scope="session")
def zygote(small_env: dict[str, str]) -> Iterator[Zygote]:
    command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=small_env, cwd=REPOSITORY, **pipes)
    yield Zygote(process)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    # It has nothing left to do, and its libraries take long to go by themselves.
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="session")
def undisturbed(
    video_root: Path, small_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> SmallSuite:
    """The small suite, run by two workers, and nothing happened to it."""
    suite = SmallSuite(video_root, tmp_path_factory.mktemp("undisturbed"), small_env)
    status, out, err = suite.start("--workers", "2").end()
    assert (status, err) == (0, ""), out
    return suite


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small_env: dict[str, str]
) -> Call:
    """A function from a command's module and its arguments to exit status, output and errors."""
    from suites.cli import run

    monkeypatch.setenv("STDCF_CACHE", small_env["STDCF_CACHE"])

    def command(module: Any, *arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run(module.app)
        shown = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, shown.out, shown.err

    return command


@pytest.fixture
def small_suite_here(
    small_suite: SmallSuite, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallSuite]:
    """The small suite for `call`: kth_table2 is it, and its workers run within this process."""
    import torch

    from suites.engine import runner, worker

    for patch in runpy.run_path(str(SMALL_RUN))["PATCHES"]:
        monkeypatch.setattr(*patch)

    def start(job: runner.Job, device: str, data_root: str | None, runs: int = 1) -> Namespace:
        arguments = Namespace(
            data_root=data_root, device=device, num_workers=0, claimed=False, rank=0
        )
        with job.folder.claim():
            status = worker._run(job.folder, arguments)
        return Namespace(poll=lambda: status)

    monkeypatch.setattr(runner, "_start", start)
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    # Set, so that the worker does not set it for the whole process.
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    threads = torch.get_num_threads()
    yield small_suite
    torch.set_num_threads(threads)
