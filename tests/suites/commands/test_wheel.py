"""The sdist, and the wheel made from it, installed without the checkout: they work in any folder.

The packages that they need are those of this environment.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from suites.engine.store.folder import run_folders
from suites.engine.store.index import read_rows
from suites.paths import PUBLISHED, REPOSITORY, SHIPPED

PLAN = "--cap 900MiB --context 0MiB --model kth_cnn --clip 8x32x32 --channels 1 --batch 2"


def clean() -> dict[str, str]:
    """The environment without what leads to this checkout or its results."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "STDCF_RESULTS")}


@dataclass
class Installed:
    """A virtual environment with the wheel alone, and an empty folder to work in."""

    programs: Path
    folder: Path

    def __call__(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        words = [str(self.programs / command[0]), *command[1:]]
        env = {**clean(), "STDCF_CACHE": str(self.folder.parent / "cache"), **env}
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done


def ran(*command: str | Path) -> None:
    words = list(map(str, command))
    done = subprocess.run(words, env=clean(), capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "build", "--no-isolation", "-o", folder, REPOSITORY)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    ran(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    (wheel,) = dist.glob("*.whl")
    words = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    ran(sys.executable, "-m", "pip", "--python", python, *words)
    # A path file's folder is searched, but its own path files, the editable install's, are not.
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "empty").mkdir()
    return Installed(python.parent, folder / "empty")


@pytest.mark.slow
def test_the_commands_work_in_an_empty_folder(installed: Installed) -> None:
    where = "import suites.paths; print(suites.paths.REPOSITORY)"
    site = Path(installed("python", "-c", where).stdout.strip())
    assert site.name == "site-packages"
    before = sorted(site.rglob("*.json"))

    shown = installed("python", "-m", "suites.run", "reduction", "--profile", "quick").stdout
    (run, *_) = folders = run_folders(installed.folder / "results" / "local")
    assert len(folders) == 4
    assert "counted" in shown
    row = run.result()
    assert row is not None
    recorded = json.loads((site / "suites" / "snapshot.json").read_text())
    assert {k: row[k] for k in ("commit", "dirty")} == recorded
    assert re.fullmatch("[0-9a-f]{40}", row["commit"]) or not (REPOSITORY / ".git").exists()

    assert "76.94" in installed("python", "-m", "suites.report", "kth_table2").stdout
    plan = installed("stdcf", "plan", *PLAN.split()).stdout
    assert "full size" in plan
    again = installed("stdcf", "run", "reduction", "--profile", "quick").stdout
    assert again.startswith("all 4 runs of reduction are done")
    assert sorted(site.rglob("*.json")) == before

    listing = ("stdcf", "results", "list", "--suite", "reduction")
    assert row["run_id"] in installed(*listing).stdout
    elsewhere = str(installed.folder.parent / "elsewhere")
    assert row["run_id"] not in installed(*listing, STDCF_RESULTS=elsewhere).stdout


@pytest.mark.slow
def test_a_wheel_has_the_shipped_runs_and_the_published_values(installed: Installed) -> None:
    code = "from suites import paths; from suites.engine.store.shipped import shipped_runs;"
    code += "print(shipped_runs(), paths.PUBLISHED, sep='\\n')"
    runs, published = map(Path, installed("python", "-c", code).stdout.splitlines())
    assert read_rows(runs) == read_rows(SHIPPED)
    for file in SHIPPED.glob("*/*/*/*.*"):
        assert (runs / file.relative_to(SHIPPED)).read_bytes() == file.read_bytes()
    assert {f.name: f.read_bytes() for f in published.iterdir()} == {
        f.name: f.read_bytes() for f in PUBLISHED.iterdir()
    }


@pytest.mark.slow
def test_the_sdist_has_what_the_tests_need_and_no_local_results(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    wanted = {"README.md", "LICENSE", "suites/snapshot.json", "tests/conftest.py", ".ci/run"}
    assert wanted | {"results/published/table2_kth.csv", "docs/results.md"} <= names
    assert not {name for name in names if name.startswith("results/local")}


def test_completion_knows_the_commands_and_their_options() -> None:
    def complete(words: str) -> set[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        env = {**os.environ, **asked, "_STDCF_COMPLETE": "complete_bash"}
        code = "import sys; sys.argv = ['stdcf']; from suites.cli import main; main()"
        command = [sys.executable, "-c", code]
        return set(subprocess.run(command, env=env, capture_output=True, text=True).stdout.split())

    assert {"report", "results"} <= complete("stdcf re")
    assert complete("stdcf run --budget-m") == {"--budget-minutes"}
    assert complete("stdcf results imp") == {"import"}
