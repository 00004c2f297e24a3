"""docs/data.md: each of its commands on a small tree in the set's published layout."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stdcf.data.clips.loader import batches
from stdcf.data.sets.cards import CARDS
from suites import data
from suites.engine.catalog import load_dataset
from suites.engine.registry import get_suite
from suites.engine.request import make_request
from suites.paths import REPOSITORY
from tests.data.trees import TREES

PAGE = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    python -m suites\.(data|run) (.+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/NAME for each set."""
    folder = tmp_path_factory.mktemp("page")
    for name, write in TREES.items():
        (folder / "data" / name).mkdir(parents=True)
        write(folder / "data" / name)
    return folder


def test_the_page_has_every_set_that_is_filmed() -> None:
    words = " ".join(words for _, words in COMMANDS)
    for name, card in CARDS.items():
        assert card.synthetic or f"verify {name} " in words
        assert card.synthetic or f"--dataset {name} " in words


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if not card.synthetic])
def test_every_set_has_a_preview(
    here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("STDCF_CACHE", str(tmp_path / "cache"))
    root, file = here / "data" / {"video_list": "videos"}.get(name, name), tmp_path / "sheet.png"
    words = ["preview", name, "--data-root", str(root), "--out", str(file), "--clips", "1"]
    result = CliRunner().invoke(data.app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert file.read_bytes().startswith(b"\x89PNG")


RUNS = [words for command, words in COMMANDS if command == "run"]


@pytest.mark.long
@pytest.mark.parametrize("words", RUNS, ids=RUNS)
def test_a_command_to_its_end(here: Path, tmp_path: Path, words: str) -> None:
    given = [*shlex.split(words), *([] if "--epochs" in words else ["--epochs", "1"])]
    command = [sys.executable, "-m", "suites.run", *given, "--results", str(tmp_path / "results")]
    paths = {"PYTHONPATH": str(REPOSITORY), "STDCF_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=here, env=os.environ | paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("command", "words"), COMMANDS, ids=[words for _, words in COMMANDS])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_command(
    here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, words: str
) -> None:
    monkeypatch.chdir(here)
    monkeypatch.setenv("STDCF_CACHE", str(tmp_path))
    if command == "data":
        result = CliRunner().invoke(data.app, shlex.split(words), catch_exceptions=False)
        # Of Weizmann's 90 videos the small tree has eight; the other sets state what they have.
        assert result.exit_code == ("verify weizmann" in words), result.output
        return
    # What the command does before its first step of training.
    name, *flags = shlex.split(words)
    options: dict[str, Any] = {"data_options": []}
    for flag, value in zip(flags[::2], flags[1::2], strict=True):
        field = flag.removeprefix("--").replace("-", "_")
        if field == "data_option":
            options["data_options"].append(value)
        else:
            options[field] = int(value) if value.isdecimal() else value
    suite = get_suite(name)
    profile, dataset = options.pop("profile", None), options.pop("dataset")
    root = options.pop("data_root")
    request = make_request(suite, profile, dataset, data_root=Path(root), **options)
    loaded = load_dataset(dataset, root, **suite.dataset_options(request))
    assert suite.specs(request, loaded.manifest)
    for clips in (loaded.train, loaded.test):
        clip_BCTHW, *_ = next(batches(clips, 2))
        assert tuple(clip_BCTHW.shape[1:]) == clips.clip_shape
        assert len(clip_BCTHW)
