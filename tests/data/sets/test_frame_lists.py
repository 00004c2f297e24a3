"""PySlowFast's frame lists, in the forms of Charades, KABR, Something-Something and AVA."""

import time
from pathlib import Path

import pytest

from stdcf.data.clips.loader import batches
from stdcf.data.sets import video_list
from stdcf.data.sets.label_lists import read_list
from stdcf.data.tools.verify import verify
from stdcf.data.video.frame_folder import find_numbering
from stdcf.errors import UserError
from tests.data.sets.test_video_list import STREAMED, frames, shades

HEAD = "original_vido_id video_id frame_id path labels\n"


def rows(video: str, number: int, labels: str, numbers: range, name: str = "-{:06d}") -> str:
    """A line a frame, as Charades' lists have them."""
    return "".join(
        f"{video} {number} {place} {video}/{video}{name.format(n)}.jpg {labels}\n"
        for place, n in enumerate(numbers)
    )


def test_a_list_of_frames_as_it_is(tmp_path: Path) -> None:
    for video in ("46GP8", "N11GT", "0IH69", "KRF68"):
        frames(tmp_path / "Charades_v1_rgb" / video, 12, video + "-{:06d}.jpg")
    (tmp_path / "frame_lists").mkdir()
    # Of the second video the frames from the fourth on.
    train = rows("46GP8", 0, '"3"', range(1, 13)) + rows("N11GT", 1, '"7"', range(4, 10))
    val = rows("0IH69", 0, '"7"', range(1, 13)) + rows("KRF68", 1, '""', range(1, 3))
    val += rows("KRF68", 1, '"3"', range(3, 13))
    (tmp_path / "frame_lists/train.csv").write_text(HEAD + train)
    (tmp_path / "frame_lists/val.csv").write_text(HEAD.replace("vido", "video") + val)
    data = video_list.load(
        tmp_path,
        train="frame_lists/train.csv",
        test="frame_lists/val.csv",
        **STREAMED,
        frames=6,
        interval=1,
        flip=False,
        test_clips=1,
    )
    assert data.classes == ("3", "7")
    assert data.notes == ("The frames are named <folder>-000001.jpg, <folder>-000002.jpg and on.",)
    clip_BCTHW, label_B, _ = next(batches(data.train, 2))
    assert label_B.tolist() == [0, 1]
    assert shades(clip_BCTHW[1]) == [*range(3, 9)]
    options = {"train": "frame_lists/train.csv", "test": "frame_lists/val.csv"}
    assert verify("video_list", tmp_path, options=options).sound == 4
    (tmp_path / "all.csv").write_text(HEAD + train + val)
    alone = video_list.find(tmp_path, train="all.csv", test_fraction=0.5)
    parts = {part: [files.part(n) for n in (0, 1)] for part, files in alone.files.items()}
    assert sorted(parts["train"] + parts["test"]) == [(0, 12), (0, 12), (0, 12), (3, 6)]


def test_frames_without_a_folder_are_of_the_root_and_prefixes_are_left_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "l.csv").write_text(HEAD + "a 0 0 k/a/12.jpg 5\na 0 1 k/a/13.jpg 5\n")
    found = read_list(tmp_path / "l.csv")
    assert (found.paths, found.labels, found.frames) == (["k/a"], ["5"], [(12, 2)])
    assert found.by_number


WRONG = [
    ("", "a header and nothing below"),
    ("a 0 0 a/a_000001.jpg\n", "line 2: expected original_vido_id video_id frame_id path labels"),
    ("a 0 0 a/a_000001 1\n", "line 2: expected original_vido_id"),
    ("a 0 0 a/1.jpg 1\na 0 1 a/3.jpg 1\n", "line 3: a/3.jpg does not follow frame 1 of a"),
    ("a 0 0 a/1.jpg 1\na 0 1 b/2.jpg 1\n", "line 3: b/2.jpg does not follow"),
    ("a 0 0 a/1.jpg 1\na 0 1 a/x2.jpg 1\n", "line 3: a/x2.jpg does not follow"),
    ('a 0 0 a/1.jpg "1,12"\n', "a has the labels 1, 12, as Charades' have several"),
    ("a 0 0 a/1.jpg 1\na 0 1 a/2.jpg 2\n", "a has the labels 1, 2"),
    ('a 0 0 a/1.jpg ""\n', "a has no label. Those of Something-Something stand in its JSON"),
    ('a 0 0 a/1.jpg """"\n', "a has no label"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_no_class_can_be_read_from_is_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "l.csv").write_text(HEAD + text)
    with pytest.raises(UserError, match=message):
        read_list(tmp_path / "l.csv")


def test_a_million_lines_take_five_seconds_at_most(tmp_path: Path) -> None:
    lines = (f"v{n // 100} 0 {n % 100} v{n // 100}/{n % 100:06d}.jpg 5\n" for n in range(10**6))
    (tmp_path / "l.csv").write_text(HEAD + "".join(lines))
    started = time.process_time()
    found = read_list(tmp_path / "l.csv")
    assert time.process_time() - started <= 5
    assert found.frames == [(0, 100)] * 10**4


def test_a_folders_own_name_before_the_number(tmp_path: Path) -> None:
    for folder in ("1", "12", "v"):
        frames(tmp_path / folder, 3, folder + "_{:06d}.jpg")
    found = find_numbering([tmp_path / name for name in ("1", "12", "v")])
    assert found.name(0) == "<folder>_000001.jpg"
    assert found.of(tmp_path / "12").name(0) == "12_000001.jpg"
    # A prefix of all, of which one folder has the name.
    for folder in ("img", "other"):
        frames(tmp_path / "b" / folder, 3, "img_{:05d}.jpg")
    assert find_numbering([tmp_path / "b/img", tmp_path / "b/other"]).prefix == "img_"
