"""Folders of classes and of parts, told from each other; what is not read is named."""

import os
import shutil
from pathlib import Path

import pytest

from stdcf.data.sets import kinetics, video_folder
from stdcf.data.sets.class_folders import find_classes
from stdcf.data.sets.films import drawn_parts
from stdcf.data.tools.verify import verify
from stdcf.errors import UserError

PARTS = [
    ("train", "valid"),
    ("Train", "Test"),
    ("training", "testing"),
    ("train", "eval"),
    ("TRAIN", "Validation"),
    ("train_set", "test set"),
    ("training_videos", "val"),
    ("train", "dev"),
]


def touch(root: Path, *names: str) -> Path:
    """Files of different contents."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def tree(root: Path, first: str, second: str) -> Path:
    names = [f"{part}/{label}/{n}.mp4" for part in (first, second) for label in "ab" for n in "01"]
    return touch(root, *names)


@pytest.mark.parametrize(("first", "second"), PARTS)
def test_parts_by_all_names_in_use(tmp_path: Path, first: str, second: str) -> None:
    found = find_classes(tree(tmp_path, first, second))
    assert found.parts == {
        part: [(label, f"{top}/{label}/{n}.mp4") for label in "ab" for n in "01"]
        for part, top in (("train", first), ("test", second))
    }
    listing = kinetics.find(tmp_path)
    assert listing.classes == ("a", "b")
    assert [len(files.names) for files in listing.files.values()] == [4, 4]


@pytest.mark.parametrize(("first", "second"), [("set1", "set2"), ("Lernen", "Prüfen"), ("0", "1")])
def test_parts_by_other_names_are_refused_unless_they_are_classes(
    tmp_path: Path, first: str, second: str
) -> None:
    tree(tmp_path, first, second)
    with pytest.raises(UserError, match=r"hold the same folders \(a, b\).*layout=classes"):
        find_classes(tmp_path)
    assert len(find_classes(tmp_path, "classes").parts["all"]) == 8


def test_a_part_that_lacks_a_class_is_a_part_still(tmp_path: Path) -> None:
    tree(tmp_path, "one", "two")
    shutil.rmtree(tmp_path / "two" / "b")
    with pytest.raises(UserError, match="hold the same folders"):
        find_classes(tmp_path)


def test_a_class_may_speak_of_trains(tmp_path: Path) -> None:
    found = find_classes(touch(tmp_path, "train/a.mp4", "tram/b.mp4", "walk_test/c.mp4"))
    assert [label for label, _ in found.parts["all"]] == ["train", "tram", "walk_test"]


def test_a_third_part_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "train", "val")
    touch(tmp_path, "test/a/7.mp4")
    assert [i.name for i in find_classes(tmp_path).left_out] == ["val"]
    assert [i.name for i in kinetics.find(tmp_path).left_out] == ["test"]


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "root",
        *("jump/0.mp4", "jump/1.MTS", "jump/2.MpG", "run/0.mp4", "run/1.xyz", "run/notes.txt"),
        *("wave/clip0/img_00001.jpg", "loose.mp4", ".old/0.mp4", "run/.hidden.mp4", "run/._0.mp4"),
    )
    (root / "empty").mkdir()
    touch(tmp_path / "disk", "0.mp4")
    (root / "walk").symlink_to(tmp_path / "disk")
    (root / "run" / "2.mp4").symlink_to(tmp_path / "nowhere")
    found = find_classes(root)
    assert [name for _, name in found.parts["all"]] == [
        *("jump/0.mp4", "jump/1.MTS", "jump/2.MpG", "run/0.mp4")
    ]
    assert {item.name for item in found.left_out} == {
        *("run/1.xyz", "wave/clip0", "wave", "loose.mp4", ".old", "run/.hidden.mp4", "empty"),
        *("walk", "run/2.mp4"),
    }


def test_verify_and_notes_name_it(tmp_path: Path, make_video) -> None:
    for seed, name in enumerate(("a/0.avi", "a/1.avi", "b/0.MTS", "b/1.mts")):
        suffix = Path(name).suffix.lower().replace("mts", "ts")
        made = tmp_path / "made" / f"{seed}{suffix}"
        make_video(made, 16, codec="mpeg4" if suffix == ".avi" else "mpeg2video", seed=seed)
        (tmp_path / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        made.rename(tmp_path / "v" / name)
    touch(tmp_path / "v", "c/0001.png")
    verdict = verify("video_folder", tmp_path / "v")
    assert (verdict.sound, verdict.faults) == (4, [])
    assert [item.name for item in verdict.left_out] == ["c", "c"]
    data = video_folder.load(tmp_path / "v", size=(12, 16), clip_frames=8, cache_dir=tmp_path / "c")
    assert data.classes == ("a", "b")
    assert data.notes[0].startswith("Left out: c (pictures")


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_film_under_two_labels_is_refused(tmp_path: Path, link) -> None:
    touch(tmp_path, "a/0.mp4", "a/1.mp4", "b/0.mp4", "b/1.mp4")
    link(tmp_path / "a/0.mp4", tmp_path / "b/other.mp4")
    for load in (lambda: video_folder.load(tmp_path), lambda: verify("video_folder", tmp_path)):
        with pytest.raises(UserError, match=r"a/0.mp4 and b/other.mp4, is in the class 'a' and in"):
            load()


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_film_in_two_parts_is_refused(tmp_path: Path, link) -> None:
    tree(tmp_path, "train", "test")
    link(tmp_path / "train/a/0.mp4", tmp_path / "test/a/2.mp4")
    for load in (lambda: video_folder.load(tmp_path), lambda: kinetics.find(tmp_path)):
        with pytest.raises(UserError, match="is in train and in test"):
            load()


def test_equal_copies_are_noted(tmp_path: Path, make_video) -> None:
    for seed, name in enumerate(("a/0", "a/1", "b/0", "b/1")):
        make_video(tmp_path / "v" / f"{name}.avi", 16, seed=seed)
    shutil.copyfile(tmp_path / "v/a/0.avi", tmp_path / "v/b/2.avi")
    data = video_folder.load(tmp_path / "v", size=(12, 16), clip_frames=8, cache_dir=tmp_path / "c")
    (note,) = [note for note in data.notes if note.startswith("Equal files")]
    assert {*note.rpartition(": ")[2].rstrip(".").split(" = ")} == {"a/0.avi", "b/2.avi"}


def test_clips_of_one_film_stay_together(tmp_path: Path) -> None:
    """UCF101's names: v_<class>_g<film>_c<clip>."""
    names = [f"v_{x}_g{film:02d}_c{clip:02d}.avi" for x in "ab" for film in range(9)
             for clip in (1, 2, 3)]  # fmt: skip
    videos = [(name[2], f"{name[2]}/{name}") for name in names]
    for seed in range(5):
        parts = drawn_parts(videos, 0.3, seed)
        films = {part: {name[:-8] for _, name in rows} for part, rows in parts.items()}
        assert not films["train"] & films["test"]
        assert [len(parts[part]) for part in ("train", "test")] == [36, 18]
