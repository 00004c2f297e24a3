"""Jester, Diving48, EPIC-KITCHENS-100, Kinetics-600 and -700, Something-Something v2 as frames."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stdcf.data.clips.loader import batches
from stdcf.data.sets import diving48, epic, kinetics, something
from stdcf.data.tools.verify import verify
from stdcf.data.video.encode import Codec, write_video
from stdcf.errors import UserError
from suites.engine.catalog import load_dataset

STREAMED: dict[str, Any] = {
    **{"crop": 16, "short_side": [20, 24], "test_crop": 16, "test_short_side": 20},
    **{"frames": 4, "interval": 1, "test_clips": 1, "flip": False},
}


def video(file: Path, frames: int = 12, seed: int = 0) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (frames, 24, 32, 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_video(file, noise, Codec("mpeg4", {}), fps=25)


def pictures(folder: Path, name: str, frames: int = 12) -> None:
    """Of which the brightness, divided by ten, is the number from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(frames):
        shade = np.full((24, 32, 3), 10 * index, np.uint8)
        Image.fromarray(shade).save(folder / name.format(index + 1), quality=95)


def shades(clip_CTHW: torch.Tensor) -> list[int]:
    return (clip_CTHW.float().mean((0, 2, 3)) / 10).round().int().tolist()


def jester(root: Path) -> None:
    for number in range(1, 5):
        pictures(root / "20bn-jester-v1" / str(number), "{:05d}.jpg")
    (root / "jester-v1-labels.csv").write_text("Swiping Left\nSwiping Right\n")
    (root / "jester-v1-train.csv").write_text("1;Swiping Left\n2;Swiping Right\n")
    (root / "jester-v1-validation.csv").write_text("3;Swiping Left\n4;Swiping Right\n")


def something_v2_frames(root: Path) -> None:
    for number in range(1, 5):
        pictures(root / "frames" / str(number), "{:06d}.jpg")
    rows = [{"id": str(n), "template": f"Moving [something] {'up' * (n % 2)}"} for n in range(1, 5)]
    (root / "labels").mkdir(parents=True)
    (root / "labels/train.json").write_text(json.dumps(rows[:2]))
    (root / "labels/validation.json").write_text(json.dumps(rows[2:]))


def diving(root: Path) -> None:
    for number in range(4):
        video(root / "rgb" / f"dive_{number:05d}.mp4", seed=number)
    rows = [
        {"vid_name": f"dive_{n:05d}", "label": n % 2, "start_frame": 0, "end_frame": 11}
        for n in range(4)
    ]
    (root / "Diving48_V2_train.json").write_text(json.dumps(rows[:2]))
    (root / "Diving48_V2_test.json").write_text(json.dumps(rows[2:]))
    vocabulary = [["Back", "15som", "05Twis", "FREE"], ["Back", "15som", "15Twis", "FREE"]]
    (root / "Diving48_vocab.json").write_text(json.dumps(vocabulary))


EPIC_HEAD = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)


def epic_row(film: str, start: int, stop: int, verb: int, noun: int) -> str:
    """start, stop: the first and the last frame, from 1, at 25 a second."""
    times = [f"00:00:{frame / 25:05.2f}" for frame in (start - 1, stop)]
    return (
        f"{film}_{start},{film[:3]},{film},{times[0]},{times[0]},{times[1]},{start},{stop},"
        f"do it,v{verb},{verb},n{noun},{noun},\"['n{noun}']\",[{noun}]\n"
    )


def epic_lists(root: Path) -> None:
    root.mkdir(exist_ok=True)
    train = epic_row("P01_01", 1, 10, 0, 1) + epic_row("P01_01", 6, 15, 3, 1)
    validation = epic_row("P02_01", 11, 20, 0, 1) + epic_row("P02_01", 1, 10, 3, 2)
    (root / "EPIC_100_train.csv").write_text(EPIC_HEAD + train)
    (root / "EPIC_100_validation.csv").write_text(EPIC_HEAD + validation)
    verbs = "id,key,instances,category\n0,take,\"['take']\",retrieve\n3,wash,\"['wash']\",clean\n"
    (root / "EPIC_100_verb_classes.csv").write_text(verbs)
    (root / "EPIC_100_noun_classes.csv").write_text("id,key,instances\n1,tap,[]\n2,plate,[]\n")


def epic_films(root: Path) -> None:
    epic_lists(root)
    for number, film in enumerate(("P01_01", "P02_01")):
        video(root / film[:3] / "videos" / f"{film}.MP4".lower(), 25, number)
        (root / film[:3] / "videos" / f"{film}.mp4".lower()).rename(
            root / film[:3] / "videos" / f"{film}.MP4"
        )


def kinetics_csv(root: Path) -> None:
    head = "label,youtube_id,time_start,time_end,split\n"
    for part, split in (("train", "train"), ("val", "validate")):
        rows = ""
        for number in range(2):
            name = f"{part[0]}{number}".ljust(11, "-")
            video(root / part / f"{name}_000001_000011.mp4", seed=number)
            rows += f"{('hop', 'run')[number]},{name},1,11,{split}\n"
        (root / f"{part}.csv").write_text(head + rows)


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
