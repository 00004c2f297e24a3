"""Small, ordinary things in a set's folder that gave a wrong label or a smaller set in silence."""

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from stdcf.data.sets import diving48, kinetics, official_splits, something, video_list
from stdcf.data.sets.class_folders import find_classes
from stdcf.data.sets.kth_sequences import locate, parse_sequences
from stdcf.data.sets.places import the_one
from stdcf.data.sets.tree import ARCHIVE, search
from stdcf.data.video.decode import BrokenVideo
from stdcf.data.video.frame_folder import count_frames, find_numbering
from stdcf.errors import UserError
from tests.data import trees
from tests.data.sets.test_video_list import STREAMED, frames, lists, pairs, touch

FILMS = [f"{letter * 11}_000001_000011.mp4" for letter in "abcd"]


def add(folder: str) -> Callable[[Path], None]:
    return lambda root: frames(root / folder / "1", 12)


@pytest.mark.parametrize(
    ("name", "write", "spoil", "find"),
    [
        ("flow", trees.jester, add("flow"), lambda root: something.find("jester", root)),
        (
            "older copy",
            trees.kinetics_csv,
            lambda root: touch(root, "old/t0---------_000001_000011.mp4"),
            kinetics.find,
        ),
        (
            "another ending",
            trees.ucf101,
            lambda root: touch(root, "UCF-101/Archery/v_Archery_g01_c01.mp4"),
            lambda root: official_splits.find("ucf101", root),
        ),
    ],
)
def test_two_videos_of_one_name_are_refused(tmp_path: Path, name, write, spoil, find) -> None:
    root = tmp_path / "set"
    root.mkdir()
    write(root)
    find(root)
    spoil(root)
    with pytest.raises(UserError, match=r" may be .* or .*: take one of them out"):
        find(root)


def test_equal_copies_of_one_name_are_one_video(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.mp4")
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a/0.mp4", tmp_path / "b/0.mp4")
    assert the_one(tmp_path, "0", ["a/0.mp4", "b/0.mp4"]) == "a/0.mp4"


def test_the_official_place_of_a_kth_video_goes_first(tmp_path: Path) -> None:
    videos = parse_sequences("person01_boxing_d1\tframes\t1-20\n")
    touch(tmp_path, "a/person01_boxing_d1.avi", "boxing/person01_boxing_d1_uncomp.avi")
    assert [*locate(search(tmp_path), videos).values()] == ["boxing/person01_boxing_d1_uncomp.avi"]
    touch(tmp_path, "b/person01_boxing_d1.avi")
    (tmp_path / "boxing/person01_boxing_d1_uncomp.avi").unlink()
    with pytest.raises(UserError, match=r"may be a/person01_boxing_d1\.avi or b/"):
        locate(search(tmp_path), videos)


@pytest.mark.parametrize(
    ("write", "file", "find"),
    [
        (trees.jester, "jester-v1-train-small.csv", lambda root: something.find("jester", root)),
        (trees.diving, "Diving48_train.json", diving48.find),
    ],
)
def test_a_release_s_list_goes_before_others(tmp_path: Path, write, file: str, find) -> None:
    write(tmp_path)
    before = find(tmp_path)
    official = next(f for f in tmp_path.iterdir() if f.stem.endswith("train"))
    (tmp_path / file).write_text("not to be read")
    assert find(tmp_path).files["train"].names == before.files["train"].names
    official.rename(tmp_path / f"my_train{official.suffix}")
    with pytest.raises(UserError, match=r"may both be .*: call one of them so"):
        find(tmp_path)


def test_an_accent_in_either_encoding_is_one_class_and_one_file(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "caf\xe9") for form in ("NFC", "NFD"))
    touch(tmp_path / "f", f"{composed}/0.mp4", f"{apart}/1.mp4", "b/2.mp4")
    assert {label for label, _ in find_classes(tmp_path / "f").parts["all"]} == {composed, "b"}
    root = touch(tmp_path / "l", f"{apart}.mp4", "1.mp4", "2.mp4")
    lists(root, f"{composed}.mp4 0\n1.mp4 1\n", "2.mp4 1\n")
    assert video_list.find(root).missing == ()
    touch(root, f"x/{composed}.mp4")
    with pytest.raises(UserError, match=r"of the lists in .* may be"):
        video_list.find(root)


def test_archives_that_nobody_unpacked_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "run/0.mp4", "run.zip", "walk.rar", "hop.tar.gz", "run/more.zip")
    left_out = {item.name for item in search(tmp_path).left_out if item.reason == ARCHIVE}
    assert left_out == {"walk.rar", "hop.tar.gz", "run/more.zip"}


def test_a_class_that_no_official_list_names_is_named(tmp_path: Path) -> None:
    trees.hmdb51(tmp_path)
    (tmp_path / "testTrainMulti_7030_splits/wave_test_split1.txt").unlink()
    found = official_splits.find("hmdb51", tmp_path)
    assert [(i.name, i.reason) for i in found.left_out] == [("wave", "its videos are in no list")]
    with pytest.raises(UserError, match=r"hmdb51 in .* has one class, brush_hair: at least two"):
        official_splits.load("hmdb51", tmp_path, cache_dir=tmp_path / "c")


def test_kinetics_clip_in_two_parts_of_a_tree_and_times_that_run_back(tmp_path: Path) -> None:
    places = ("train/a", "train/b", "val/a", "val/b")
    touch(tmp_path / "t", *(f"{p}/{f}" for p, f in zip(places, FILMS, strict=True)))
    assert len(kinetics.find(tmp_path / "t").files["train"].names) == 2
    touch(tmp_path / "t", f"val/a/{FILMS[0]}")
    with pytest.raises(UserError, match=r"list a+_000001_000011 twice: 'a' in train, 'a' in test"):
        kinetics.find(tmp_path / "t")
    touch(tmp_path / "c", FILMS[0])
    (tmp_path / "c/train.csv").write_text(
        "label,youtube_id,time_start,time_end,split\nhop,aaaaaaaaaaa,11,1,train\n"
    )
    with pytest.raises(UserError, match="ends at 000001 s and begins at 000011 s"):
        kinetics.find(tmp_path / "c")


def test_classes_that_cannot_be_told_and_copies_are_noted(tmp_path: Path, make_video) -> None:
    for number in range(4):
        make_video(tmp_path / f"{number}.avi", 8, seed=number)
    shutil.copy(tmp_path / "0.avi", tmp_path / "4.avi")
    lists(tmp_path, "0.avi Jump up\n1.avi run\n", "2.avi jump_up\n3.avi run\n4.avi hop\n")
    data = video_list.load(tmp_path, **STREAMED)
    assert data.notes == (
        "Equal files under two labels or in two parts: 0.avi = 4.avi.",
        "Tested and never trained: hop, jump_up.",
        "The classes 'Jump up' and 'jump_up' differ by their spelling alone.",
    )
    assert pairs(video_list.find(tmp_path), "test")[0] == ("2.avi", "jump_up")
    lists(tmp_path, "0.avi 0\n1.avi 0\n", "2.avi 0\n")
    with pytest.raises(UserError, match="has one class, 0: at least two are needed"):
        video_list.load(tmp_path, **STREAMED)
    with pytest.raises(UserError, match="has one class, 0: at least two are needed"):
        video_list.load(tmp_path, size=(12, 16), cache_dir=tmp_path / "c")


@pytest.mark.parametrize("odd", ["00009.JPG", "00009.png", "000009.jpg", "9.jpg"])
def test_a_folder_s_frames_of_another_name_are_not_dropped(tmp_path: Path, odd: str) -> None:
    frames(tmp_path / "1", 8, "{:05d}.jpg")
    frames(tmp_path / "2", 8, "{:05d}.jpg")
    numbering = find_numbering([tmp_path / "1", tmp_path / "2"])
    assert count_frames(tmp_path / "1", numbering) == 8
    (tmp_path / "1" / odd).touch()
    with pytest.raises(BrokenVideo, match=f"{odd} is not named as 00001.jpg is"):
        count_frames(tmp_path / "1", numbering)


PARTS = [
    ("train", "dev"),
    ("TRAIN_SET", "Test set"),
    ("01_train", "02_test"),
    ("Training Data", "Validation Data"),
    ("train_videos", "val_videos"),
]


@pytest.mark.parametrize("names", PARTS)
def test_names_of_parts(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path, *(f"{part}/{label}/0.mp4" for part in names for label in "ab"))
    assert {part: len(rows) for part, rows in find_classes(tmp_path).parts.items()} == {
        "train": 2,
        "test": 2,
    }


UNCLEAR = [
    ("trn", "tst"),
    ("learn", "check"),
    ("fold1", "fold2"),
    ("trainval", "test"),
    ("train", "holdout"),
    ("ucf_train", "ucf_test"),
    ("test", "val"),
]


@pytest.mark.parametrize("names", UNCLEAR)
def test_folders_that_may_be_parts_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path, *(f"{part}/{label}/0.mp4" for part in names for label in "ab"))
    with pytest.raises(UserError, match="hold the same folders"):
        find_classes(tmp_path)
