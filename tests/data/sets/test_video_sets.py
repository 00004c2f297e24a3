"""Jester, Diving48, EPIC-KITCHENS-100, Kinetics-600 and -700, Something-Something v2 as frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stdcf.data.clips.loader import batches
from stdcf.data.sets import diving48, epic, kinetics, something
from stdcf.data.tools.verify import verify
from stdcf.errors import UserError
from suites.engine.catalog import load_dataset
from tests.data.trees import (
    EPIC_HEAD,
    diving,
    epic_films,
    epic_lists,
    epic_row,
    jester,
    kinetics_csv,
    pictures,
    something_v2_frames,
    video,
)

STREAMED: dict[str, Any] = {
    **{"crop": 16, "short_side": [20, 24], "test_crop": 16, "test_short_side": 20},
    **{"frames": 4, "interval": 1, "test_clips": 1, "flip": False},
}


def shades(clip_CTHW: torch.Tensor) -> list[int]:
    return (clip_CTHW.float().mean((0, 2, 3)) / 10).round().int().tolist()


TREES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "jester": (jester, ("Swiping Left", "Swiping Right")),
    "something_v2": (something_v2_frames, ("Moving something ", "Moving something up")),
    "diving48": (diving, ("Back 15som 05Twis FREE", "Back 15som 15Twis FREE")),
    "epic100": (epic_films, ("take", "wash")),
    "kinetics600": (kinetics_csv, ("hop", "run")),
    "kinetics700": (kinetics_csv, ("hop", "run")),
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_in_the_published_layout(tmp_path: Path, name: str) -> None:
    write, classes = TREES[name]
    tmp_path.joinpath("v").mkdir()
    write(tmp_path / "v")
    data = load_dataset(name, str(tmp_path / "v"), **STREAMED)
    assert (data.name, data.classes) == (name, classes)
    assert data.counts() == {
        part: {"listed": 2, "found": 2, "broken": 0, "used": 2} for part in ("train", "test")
    }
    for clips in (data.train, data.test):
        clip_BCTHW, label_B, *_ = next(batches(clips, 2))
        assert clip_BCTHW.shape[1:] == (3, 4, 16, 16)
        assert set(label_B.tolist()) == {0, 1}
    assert verify(name, tmp_path / "v").sound == 4


def test_epics_targets(tmp_path: Path) -> None:
    epic_films(tmp_path)
    assert epic.find(tmp_path, "noun").classes == ("tap", "plate")
    found = epic.find(tmp_path, "action")
    assert found.classes == ("take tap", "wash tap", "wash plate")
    assert found.files["test"].spans is not None
    assert found.files["test"].spans.tolist() == [[0.0, 0.4], [0.4, 0.8]]
    with pytest.raises(UserError, match="target='adverb': choose verb, noun, action"):
        epic.find(tmp_path, "adverb")  # type: ignore[arg-type]
    for file in tmp_path.glob("*classes.csv"):
        file.unlink()
    assert epic.find(tmp_path).classes == ("0", "3")


def test_epics_frames_are_cut_by_their_numbers(tmp_path: Path) -> None:
    epic_lists(tmp_path)
    for film in ("P01_01", "P02_01"):
        pictures(tmp_path / film[:3] / "rgb_frames" / film, "frame_{:010d}.jpg", 25)
    data = epic.load(tmp_path, **{**STREAMED, "frames": 10, "sampling": "dense"})
    clip_BCTHW, _, video_B = next(batches(data.train, 2))
    assert video_B.tolist() == [0, 1]
    assert [shades(clip) for clip in clip_BCTHW] == [[*range(10)], [*range(5, 15)]]
    (tmp_path / "EPIC_100_train.csv").write_text(EPIC_HEAD + epic_row("P01_01", 20, 30, 0, 1))
    (fault,) = verify("epic100", tmp_path).faults
    assert "it holds 25 frames, and its list names 30" in fault.reason


def test_frames_of_v2_and_its_videos_give_one_listing(tmp_path: Path) -> None:
    something_v2_frames(tmp_path)
    assert something.find(2, tmp_path).files["train"].are_folders
    for number in range(1, 5):
        video(tmp_path / "videos" / f"{number}.webm".replace("webm", "mp4"), seed=number)
    assert not something.find(2, tmp_path).files["train"].are_folders


WRONG = [
    (diving48, {"Diving48_V2_train.json": "[]", "Diving48_V2_test.json": "[]"}, "lists no video"),
    (diving48, {"Diving48_V2_train.json": "[{}]"}, "a list of objects with vid_name and label"),
    (diving48, {"Diving48_V2_train.json": "["}, "is not JSON"),
    (diving48, {}, r"holds no \*train\*.json"),
    (epic, {}, r"holds no \*train\*.csv"),
    (epic, {"EPIC_100_train.csv": "video_id\n"}, "lacks the columns start_timestamp"),
    (epic, {"EPIC_100_train.csv": EPIC_HEAD}, "lists no segment"),
    (epic, {"EPIC_100_train.csv": EPIC_HEAD + epic_row("P01_01", 9, 5, 0, 1)}, "has no length"),
    (kinetics, {"train.csv": "label\n"}, "lacks the columns youtube_id"),
]


@pytest.mark.parametrize(("reader", "files", "message"), WRONG)
def test_wrong_lists_are_one_line(tmp_path: Path, reader: Any, files: dict, message: str) -> None:
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=message):
        reader.find(tmp_path)


def test_a_vocabulary_with_too_few_classes(tmp_path: Path) -> None:
    diving(tmp_path)
    (tmp_path / "Diving48_vocab.json").write_text('["Back"]')
    with pytest.raises(UserError, match="names 1 classes, and the lists have 2"):
        diving48.find(tmp_path)
