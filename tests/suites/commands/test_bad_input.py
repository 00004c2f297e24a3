"""What a user gets wrong: one clear line, exit status 2, and nothing on disk changed."""

import os
from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from suites import plot, report, run, status
from suites.engine.catalog import build, load_dataset


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path under a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file, a folder without videos and one of a broken video."""
    (tmp_path / "file").write_text("a regular file")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STDCF_DATA", raising=False)
    return tmp_path


def refused(call: Any, place: Path, module: Any, *arguments: object) -> str:
    """The one line of a command that must refuse its arguments."""
    before = contents(place)
    code, out, err = call(module, *arguments)
    assert (code, out.strip()) == (2, ""), err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert contents(place) == before
    return str(err)


VIDEOS = ("kth_table2", "--dataset", "video_folder")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kth_tabel2"], ["no suite 'kth_tabel2'", "did you mean kth_table2?"]),
        (["zzz"], ["no suite 'zzz'", "kth_table2"]),
        ([], ["which suite?", "--list"]),
        (["kth_table2", "--seeds", 0], ["--seeds must be at least 1, not 0"]),
        (["kth_table2", "--seeds", -3], ["--seeds", "-3"]),
        (["kth_table2", "--seeds", "few"], ["--seeds"]),
        (["kth_table2", "--epochs", 0], ["--epochs must be at least 1, not 0"]),
        (["kth_table2", "--workers", 0], ["--workers must be at least 1, not 0"]),
        (["kth_table2", "--cap", "3parsecs"], ["'3parsecs' is not a size", "4GiB"]),
        (["kth_table2", "--cap", "0.5B"], ["'0.5B' is not a size"]),
        (["kth_table2", "--profile", "fast"], ["no profile 'fast'", "quick, half, paper"]),
        (["kth_table2", "--dataset", "imagenet"], ["'imagenet'", "kth, weizmann, "]),
        (["kth_table2", "--device", "cuda:7"], ["no cuda:7 on this machine", "--device cpu"]),
        (["kth_table2", "--device", "tpu"], ["cpu, cuda or cuda:N", "'tpu'"]),
        (["kth_table2", "--device", "cpu:"], ["cpu, cuda or cuda:N", "'cpu:'"]),
        (["kth_table2", "--device", "cuda:"], ["cpu, cuda or cuda:N", "'cuda:'"]),
        (["kth_table2", "--device", "cuda:²"], ["cpu, cuda or cuda:N", "'cuda:²'"]),
        (["kth_table2", "--budget", "1"], ["--budget"]),
        (["kth_table2", "another"], ["another"]),
        (["kth_table2", "--budget-minutes", "soon"], ["--budget-minutes"]),
        ([*VIDEOS, "--data-root", "empty"], ["No video in", "empty"]),
        ([*VIDEOS, "--data-root", "nowhere"], ["No folder", "nowhere"]),
        (VIDEOS, ["No folder data/video_folder"]),
        (["kth_table2", "--dataset", "weizmann", "--data-root", "empty"], ["No Weizmann video"]),
        (["kth_table2", "--dataset", "kth", "--data-root", "empty"], ["empty"]),
        ([*VIDEOS, "--results", "file/results"], ["cannot write to", "--results"]),
        ([*VIDEOS, "--results", "file"], ["cannot write to", "--results"]),
        ([*VIDEOS, "--results", "/proc/results"], ["cannot write to", "--results"]),
        (["kth_table2", "--layer-option", "stdcf.atoms=3"], ["'atoms'", "num_spatial_atoms"]),
        (["kth_table2", "--layer-option", "stdfc.plan=auto"], ["'stdfc'", "stdcf"]),
        (["kth_table2", "--layer-option", "plan=auto"], ["LAYER.NAME=VALUE", "'plan=auto'"]),
        (["kth_table2", "--layer-option", "stdcf.plan=best"], ["best", "composed"]),
        (["kth_table2", "--model-option", "drop=0.3"], ["drop", "dropout"]),
        (["kth_table2", "--model-option", "dropout=7"], ["7"]),
        (["kth_table2", "--model-option", "num_classes=7"], ["num_classes"]),
        (["kth_table2", "--model-option", "layer=rank1"], ["layer"]),
        (["kth_table2", "--data-option", "clips=7"], ["'clips'", "its options are"]),
        (["kth_table2", "--data-option", "clips"], ["NAME=VALUE", "'clips'"]),
        ([*VIDEOS, "--data-root", "empty", "--data-option", "root=x"], ["root=x"]),
        ([*VIDEOS, "--data-root", "empty", "--data-option", "progress=1"], ["progress=1"]),
        ([*VIDEOS, "--data-root", "empty", "--data-option", "cache_dir=x"], ["'cache_dir'"]),
        ([*VIDEOS, "--data-root", "empty", "--data-option", "size=3"], ["size"]),
        (
            [*VIDEOS, "--data-root", "empty", "--data-option", "clip_frames=few"],
            ["clip_frames=few"],
        ),
        ([*VIDEOS, "--data-root", "empty", "--data-option", "test_fraction=2"], ["test_fraction"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:60],
)
def test_run_refuses(call: Any, place: Path, arguments: list[object], words: list[str]) -> None:
    if "--results" not in arguments and arguments:
        arguments = [*arguments, "--results", "results"]
    if "--dataset" not in arguments and any(str(a).endswith("-option") for a in arguments):
        # So that no synthetic clips are made where an option is not refused.
        arguments = [*arguments, "--dataset", "video_folder", "--data-root", "empty"]
    said = refused(call, place, run, *arguments)
    assert all(word in said for word in words), said


def test_a_truncated_video_is_named(call: Any, place: Path, video_root: Path) -> None:
    for label in ("left", "right"):
        (place / "videos" / label).mkdir(parents=True)
        for video in (video_root / label).iterdir():
            (place / "videos" / label / video.name).write_bytes(video.read_bytes())
    broken = place / "videos" / "left" / "4.avi"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    said = refused(call, place, run, *VIDEOS, "--data-root", "videos", "--results", "results")
    assert "4.avi" in said


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (report, ["kth_table3"], ["no suite", "kth_table2"]),
        (report, ["--results", "nowhere"], ["no results folder nowhere"]),
        (report, ["--results", "file"], ["no results folder file"]),
        (report, ["--format", "pdf"], ["no format 'pdf'", "text, md, csv, latex, json"]),
        (plot, ["kth_table3"], ["no suite", "kth_table2"]),
        (plot, ["--results", "nowhere"], ["no results folder nowhere"]),
        (plot, ["--out", "file/figures"], ["cannot write to", "--out"]),
        (status, ["kth_table3"], ["no suite", "kth_table2"]),
        (status, ["kth_table2", "--results", "nowhere"], ["no runs of kth_table2", "suites.run"]),
        (status, [], ["name"]),
    ],
    ids=lambda value: getattr(value, "__name__", None) or " ".join(value),
)
def test_the_other_commands_refuse(
    call: Any, place: Path, module: Any, arguments: list[str], words: list[str]
) -> None:
    said = refused(call, place, module, *arguments)
    assert all(word.lower() in said.lower() for word in words), said


def test_nothing_to_show_yet_is_said(
    call: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suites.paths.SHIPPED", place / "runs")
    for module in (report, plot):
        assert "suites.run kth_table2" in refused(call, place, module, "--results", "empty")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layer": "stdcf", "layer_options": {"atoms": 3}}, ["'atoms'", "num_spatial_atoms"]),
        ({"layer": "regular", "layer_options": {"plan": "auto"}}, ["'plan'", "none"]),
        ({"layer": "sdtcf"}, ["'sdtcf'", "stdcf", "regular", "rank1"]),
        ({"layer_options": {"plan": "auto"}}, ["plan", "without a layer"]),
        ({"drop": 0.1}, ["drop", "dropout", "relu_saves"]),
        ({"relu_saves": "both"}, ["both", "input", "output"]),
    ],
)
def test_build_refuses(arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - a UserError is one
        build("kth_cnn", num_classes=6, **arguments)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_models_and_data_sets_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown model 'kth_cn'; there are .*kth_cnn"):
        build("kth_cn", num_classes=6)
    with pytest.raises(UserError, match=r"unknown data set 'khs'; there are .*, kth, "):
        load_dataset("khs", None)
    with pytest.raises(UserError, match=r"no option 'sise'; its options are size, "):
        load_dataset("kth", os.curdir, sise=3)
