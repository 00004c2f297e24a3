"""Videos, or frames of them, by lists of `path label`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stdcf.data.clips.loader import batches
from stdcf.data.sets import video_list
from stdcf.data.sets.listing import time_notes
from stdcf.data.sets.video_list import find
from stdcf.data.tools.verify import verify
from stdcf.data.video.encode import Codec, write_video
from stdcf.errors import UserError
from suites.engine.catalog import load_dataset
from tests.speed import slowness

SMALL = {"size": (12, 16), "clip_frames": 8}
STREAMED = {"crop": 16, "short_side": [20, 24], "test_crop": 16, "test_short_side": 20}


def touch(root: Path, *names: str) -> Path:
    """Files of different contents."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def lists(root: Path, train: str, test: str, end: str = "txt") -> Path:
    (root / f"train.{end}").write_text(train)
    (root / f"val.{end}").write_text(test)
    return root


def frames(folder: Path, number: int, name: str = "img_{:05d}.jpg", first: int = 1) -> None:
    folder.mkdir(parents=True)
    for index in range(number):
        shade = np.full((24, 32, 3), 10 * index, np.uint8)
        Image.fromarray(shade).save(folder / name.format(index + first), quality=95)


def shades(clip_CTHW: torch.Tensor) -> list[int]:
    """The frames' numbers, by their brightness."""
    return (clip_CTHW.float().mean((0, 2, 3)) / 10).round().int().tolist()


def pairs(listing, part: str) -> list[tuple[str, str]]:
    files = listing.files[part]
    return [(n, listing.classes[i]) for n, i in zip(files.names, files.labels, strict=True)]


def test_whole_frames_and_streamed_clips_of_one_list(tmp_path: Path, make_video) -> None:
    root = tmp_path / "v"
    for seed in range(6):
        make_video(root / "my videos" / f"v{seed}.avi", 16, seed=seed)
    rows = [f"my videos/v{n}.avi {n % 2}\n" for n in range(6)]
    lists(root, "".join(rows[:4]), "".join(rows[4:]))
    (root / "names.txt").write_text("hop\nrun\n")
    data = video_list.load(root, **SMALL, classes="names.txt", cache_dir=tmp_path / "c")
    assert data.classes == ("hop", "run")
    assert data.train.video_names == tuple(f"my videos/v{n}.avi" for n in range(4))
    streamed = load_dataset("video_list", str(root), **STREAMED, frames=4, interval=2)
    assert streamed.classes == ("0", "1")
    ((clip_BCTHW, label_B, _),) = batches(streamed.train, 8)
    assert clip_BCTHW.shape == (4, 3, 4, 16, 16)
    assert label_B.tolist() == [0, 1, 0, 1]
    assert verify("video_list", root).sound == 6


@pytest.mark.parametrize("name", ["img_{:05d}.jpg", "{:06d}.png", "frame{}.JPG"])
def test_folders_of_frames_as_tsn_and_mmaction2_list_them(tmp_path: Path, name: str) -> None:
    for number in range(4):
        frames(tmp_path / "frames" / f"a clip_{number}", 12, name, first=number < 9)
    rows = [f"frames/a clip_{n} {12 - n} {n % 2}\n" for n in range(4)]
    lists(tmp_path, "".join(rows[:2]), "".join(rows[2:]))
    data = video_list.load(tmp_path, **STREAMED, frames=12, interval=1, flip=False)
    (clip_BCTHW, *_), *_ = batches(data.test, 1)
    # Of the third folder ten of the twelve frames are listed: the last is repeated.
    assert shades(clip_BCTHW[0]) == [*range(10), 9, 9]
    assert verify("video_list", tmp_path).sound == 4
    with pytest.raises(UserError, match="holds folders of frames: give no size"):
        video_list.load(tmp_path, **SMALL)


def test_offsets_of_mmaction2(tmp_path: Path) -> None:
    for number in range(2):
        frames(tmp_path / f"{number}", 12)
    lists(tmp_path, "0 5 3 0\n0 8 4 1\n", "1 0 12 1\n")
    data = video_list.load(tmp_path, **STREAMED, frames=3, interval=1, flip=False)
    ((clip_BCTHW, label_B, _),) = batches(data.train, 2)
    assert label_B.tolist() == [0, 1]
    assert shades(clip_BCTHW[0]) == [5, 6, 7]
    (tmp_path / "train.txt").write_text("0 5 8 0\n0 8 4 1\n")
    fault = verify("video_list", tmp_path).faults[0]
    assert (fault.file, fault.reason) == (
        "0",
        "it holds 12 frames, and its list names 13 from the first",
    )


def test_paths_of_another_machine_and_without_endings(tmp_path: Path) -> None:
    touch(tmp_path, *(f"videos/{part}/v{n}.webm" for part in ("a", "b") for n in range(2)))
    lists(
        tmp_path,
        "/disk1/k400/a/v0 jump\n/disk1/k400/b/v0 run\n",
        "/disk1/k400/a/v1 jump\n/disk1/k400/b/v1 run\n/disk1/k400/c/v9 run\n",
        "csv",
    )
    found = find(tmp_path)
    assert pairs(found, "train") == [("videos/a/v0.webm", "jump"), ("videos/b/v0.webm", "run")]
    assert found.missing == ("/disk1/k400/c/v9",)
    assert found.listed == {"train": 2, "test": 3}


def test_lists_by_option_in_any_folder_and_one_with_parts(tmp_path: Path) -> None:
    root = touch(tmp_path / "v", *(f"{n}.mp4" for n in range(4)))
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/one.csv").write_text(
        "path,label,split\n0.mp4,a,train\n1.mp4,b,training\n2.mp4,a,val\n3.mp4,b,val\n"
    )
    found = find(root, train="../lists/one.csv")
    assert pairs(found, "test") == [("2.mp4", "a"), ("3.mp4", "b")]
    (tmp_path / "lists/one.csv").write_text("path,label,split\n0.mp4,a,train\n1.mp4,b,holdout\n")
    with pytest.raises(UserError, match="parts holdout, train; some must"):
        find(root, train="../lists/one.csv")


def test_a_random_split_keeps_groups_together_and_says_so(tmp_path: Path) -> None:
    names = [f"{x}/v_{x}_g{f:02d}_c{c:02d}.avi" for x in "ab" for f in range(5) for c in (1, 2)]
    touch(tmp_path, *names)
    (tmp_path / "train.txt").write_text("".join(f"{name} {name[0]}\n" for name in names))
    found = find(tmp_path)
    assert [len(files.names) for files in found.files.values()] == [12, 8]
    groups = [{name[-11:-8] + name[0] for name in f.names} for f in found.files.values()]
    assert not groups[0] & groups[1]
    assert found.notes[0].startswith("Split at random: 30% of each class is tested, seed 0; clips")
    assert "10 films of 20 clips" in found.notes[0]
    other = find(tmp_path, seed=1)
    assert other.files["test"].names != found.files["test"].names


def test_links_to_folders_and_paths_that_lead_out(tmp_path: Path) -> None:
    root = touch(tmp_path / "v", "0.mp4", "1.mp4")
    touch(tmp_path, "secret.mp4")
    lists(root, f"0.mp4 a\n../secret.mp4 b\n{tmp_path}/secret.mp4 b\n", "1.mp4 b\n")
    assert len(find(root).missing) == 2


WRONG = [
    ("0.mp4 a\n0.mp4 b\n", "1.mp4 b\n", {}, "twice: 'a' in train, 'b' in train"),
    ("0.mp4 a\n", "0.mp4 a\n", {}, "twice: 'a' in train, 'a' in test"),
    ("0.mp4 0\n", "1.mp4 2\n", {"classes": "c.txt"}, "lacks the class '2' of val.txt"),
    ("0.mp4 0\n", "1.mp4 1\n", {"classes": "d.txt"}, "No file .*d.txt of classes"),
    ("0.mp4 0\n", "1.mp4 1\n", {"train": "d.txt"}, "No list .*d.txt"),
    ("0.mp4 0\n", "1.mp4 1\n", {"test": "val.txt"}, "test= is given without train="),
    ("0.mp4 0\n", "1.mp4 1\n", {"test_fraction": 1.5}, "test_fraction=1.5"),
    ("0.mp4 0\n", "7.mp4 1\n", {}, r"No test video of video_list in .*\(7.mp4\)"),
    ("0.mp4 0\n", "1.mp4 1\n", {"clip_frames": 4}, "clip_frames=4 is for clips of whole frames"),
]


@pytest.mark.parametrize(("train", "test", "options", "message"), WRONG)
def test_what_is_wrong_is_one_line(tmp_path: Path, train, test, options, message) -> None:
    lists(touch(tmp_path, "0.mp4", "1.mp4"), train, test)
    (tmp_path / "c.txt").write_text("hop\nrun\n")
    with pytest.raises(UserError, match=message):
        video_list.load(tmp_path, **options)


def test_a_folder_without_lists_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data-option train=FILE"):
        find(touch(tmp_path, "0.mp4"))
    lists(touch(tmp_path, "1.mp4"), "0.mp4 0\n", "1.mp4 1\n")
    shutil.copy(tmp_path / "train.txt", tmp_path / "train.csv")
    with pytest.raises(UserError, match="may both be the train list"):
        find(tmp_path)


def test_a_million_lines_take_five_seconds_at_most(tmp_path: Path) -> None:
    import time

    touch(tmp_path, "0/v000000000.mp4", "0/v000000001.mp4")
    rows = (f"{n // 10_000}/v{n:09d}.mp4 {n % 400}\n" for n in range(10**6))
    (tmp_path / "train.txt").write_text("".join(rows))
    (tmp_path / "val.txt").write_text("0/v000000001.mp4 1\n")
    (tmp_path / "train.txt").write_text(
        (tmp_path / "train.txt").read_text().replace("0/v000000001.mp4 1\n", "", 1)
    )
    started = time.process_time()
    found = find(tmp_path)
    assert time.process_time() - started <= 5 * slowness()
    assert found.listed == {"train": 10**6 - 1, "test": 1}


def test_what_is_listed_found_broken_and_used_is_counted(tmp_path: Path, make_video) -> None:
    for number in range(4):
        make_video(tmp_path / "v" / f"{number}.avi", 16, seed=number)
    lists(tmp_path / "v", "0.avi 0\n1.avi 1\n9.avi 1\n", "2.avi 0\n3.avi 1\n")
    whole = video_list.load(tmp_path / "v", **SMALL, cache_dir=tmp_path / "c")
    assert whole.counts() == {
        "train": {"listed": 3, "found": 2, "broken": 0, "used": 2},
        "test": {"listed": 2, "found": 2, "broken": 0, "used": 2},
    }
    (tmp_path / "v" / "3.avi").write_bytes(b"no video")
    data = video_list.load(tmp_path / "v", **STREAMED, frames=4, interval=1)
    broken: dict[str, str] = {}
    list(batches(data.test, 2, on_broken=broken.__setitem__))
    assert data.counts(broken)["test"] == {"listed": 2, "found": 2, "broken": 1, "used": 1}


def test_segments_of_films_and_frames_a_second(tmp_path: Path, make_video) -> None:
    for number in range(2):
        make_video(tmp_path / f"{number}.avi", 50, seed=number)
    head = "path,label,start,end\n"
    lists(
        tmp_path, head + "0.avi,a,0,1\n0.avi,b,1,2\n", head + "1.avi,a,0,1\n0.avi,b,0.5,2\n", "csv"
    )
    data = video_list.load(tmp_path, **STREAMED, frames=4, interval=2, fps=10)
    assert len(data.train) == len(data.test) == 2
    assert data.frame_rates == (25.0,)
    words = " ".join(data.notes)
    assert "4 segments are cut from films" in words
    assert "Segments of 1 films are in training and in testing (0.avi)" in words
    assert "resampled to 10 frames a second" in words
    other = video_list.load(tmp_path, **STREAMED, frames=4, interval=2)
    assert other.manifest != data.manifest
    ((a_BCTHW, *_), (b_BCTHW, *_)) = batches(data.train, 1)
    assert not torch.equal(a_BCTHW, b_BCTHW)
    with pytest.raises(UserError, match="name segments: give no size"):
        video_list.load(tmp_path, **SMALL)
    lists(tmp_path, head + "0.avi,a,0,1\n0.avi,b,0,1\n", head + "1.avi,a,0,1\n", "csv")
    with pytest.raises(UserError, match=r"0\.avi from 0 to 1 twice: 'a' in train, 'b'"):
        find(tmp_path)


def test_rates_that_differ_are_told_and_folders_take_no_rate(tmp_path: Path) -> None:
    for number, fps in enumerate((25, 50)):
        noise = np.random.default_rng(number).integers(0, 256, (20, 32, 32, 3), np.uint8)
        write_video(tmp_path / f"{number}.mp4", noise, Codec("mpeg4", {}), fps=fps)
    lists(tmp_path, "0.mp4 0\n1.mp4 1\n", "0.mp4 0\n")
    (tmp_path / "val.txt").write_text("1.mp4 1\n")
    (tmp_path / "train.txt").write_text("0.mp4 0\n")
    data = video_list.load(tmp_path, **STREAMED, frames=4, interval=1)
    assert data.frame_rates == (25.0,)
    assert time_notes((25.0, 50.0), None)[0].startswith(
        "Clips count frames, and the videos have 25"
    )
    assert time_notes((29.97, 30.0), None) == []
    for number in range(2):
        frames(tmp_path / "f" / f"{number}", 4)
    lists(tmp_path / "f", "0 4 0\n", "1 4 1\n")
    with pytest.raises(UserError, match="fps=30: folders of frames have no times"):
        video_list.load(tmp_path / "f", **STREAMED, fps=30)


def test_folders_are_resampled_by_the_rate_that_they_were_made_with(tmp_path: Path) -> None:
    for number in range(2):
        frames(tmp_path / f"{number}", 20)
    lists(tmp_path, "0 20 0\n", "1 4 12 1\n")
    options = {**STREAMED, "frames": 4, "interval": 1, "flip": False, "test_clips": 1}
    data = video_list.load(tmp_path, **options, fps=3, frame_rate=12)
    assert data.frame_rates == (12,)
    assert "Clips are resampled to 3 frames a second by their times." in data.notes
    clip_CTHW, _, _ = data.test[0]
    # Every fourth of the listed frames from the fifth on.
    assert shades(clip_CTHW) == [4, 8, 12, 12]
    plain = video_list.load(tmp_path, **options)
    known = video_list.load(tmp_path, **options, frame_rate=12)
    assert plain.manifest == known.manifest != data.manifest
    with pytest.raises(UserError, match="fps=3: folders of frames have no times; give the rate"):
        video_list.load(tmp_path, **options, fps=3)
    with pytest.raises(UserError, match="frame_rate=0: give a number above 0"):
        video_list.load(tmp_path, **options, fps=3, frame_rate=0)


def test_whole_frames_are_resampled_by_their_times(tmp_path: Path, make_video) -> None:
    for number in range(2):
        make_video(tmp_path / "v" / f"{number}.avi", 50, seed=number)
    root = lists(tmp_path / "v", "0.avi 0\n", "1.avi 1\n")
    common = {**SMALL, "train_step": 8, "cache_dir": tmp_path / "c"}
    data, plain = (video_list.load(root, **common, fps=fps) for fps in (5, None))
    # Of 25 a second, two seconds long: 10 at 5 a second.
    assert [len(data.train), len(plain.train)] == [1, 6]
    assert data.train.plan.frames[0].tolist() == [*range(0, 40, 5)]
    assert data.manifest != plain.manifest
    assert "Clips are resampled to 5 frames a second by their times." in data.notes
    thrice = video_list.load(root, **common, fps=75)
    assert thrice.train.plan.frames[0].tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    with pytest.raises(UserError, match=r"fps=0: give a number above 0"):
        video_list.load(root, **common, fps=0)
    with pytest.raises(UserError, match=r"frame_rate=12 is for folders of frames"):
        video_list.load(root, **common, frame_rate=12)
    with pytest.raises(UserError, match=r"frame_rate=12: give it to folders of frames alone"):
        video_list.load(root, **STREAMED, frame_rate=12)
    with pytest.raises(UserError, match=r"kth takes no fps: all its videos have 25 frames"):
        load_dataset("kth", None, fps=30)


def test_parts_of_folders_are_not_parts_of_files(tmp_path: Path) -> None:
    lists(touch(tmp_path, "0.mp4", "1.mp4"), "0 5 9 0\n", "1 3 9 1\n")
    with pytest.raises(UserError, match="name parts of folders of frames, and it holds video"):
        find(tmp_path)
    lists(tmp_path, "0 9 0\n", "1 9 1\n")
    assert pairs(find(tmp_path), "train") == [("0.mp4", "0")]
