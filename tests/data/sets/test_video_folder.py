import pytest

from stdcf.data.sets import video_folder
from stdcf.errors import UserError

SMALL = {"size": (12, 16), "clip_frames": 8}


def fill(root, make_video, names):
    for seed, name in enumerate(names):
        make_video(root / name, 16, seed=seed)


def test_a_fraction_of_each_class_is_tested(tmp_path, make_video):
    names = [
        f"{label}/{index}.{suffix}"
        for label in ("hop", "sit")
        for index, suffix in enumerate(["avi", "mp4", "mov", "mkv"])
    ]
    fill(tmp_path / "v", make_video, names)
    (tmp_path / "v" / "hop" / "notes.txt").write_text("no video")
    options = {**SMALL, "cache_dir": tmp_path / "c", "test_fraction": 0.25}
    data = video_folder.load(tmp_path / "v", **options)
    assert data.classes == ("hop", "sit")
    assert sorted((*data.train.video_names, *data.test.video_names)) == sorted(names)
    assert sorted(name[:3] for name in data.test.video_names) == ["hop", "sit"]
    assert data.train.labels.tolist() == [0] * 9 + [1] * 9  # 3 videos, clips from 0, 4 and 8
    assert video_folder.load(tmp_path / "v", **options).manifest == data.manifest
    splits = {
        video_folder.load(tmp_path / "v", **options, seed=s).test.video_names for s in range(4)
    }
    assert len(splits) > 1


@pytest.mark.parametrize("second", ["test", "val"])
def test_folders_that_come_split_are_kept(tmp_path, make_video, second):
    names = ["train/hop/a.avi", "train/sit/b.avi", f"{second}/hop/c.avi"]
    fill(tmp_path / "v", make_video, names)
    data = video_folder.load(tmp_path / "v", **SMALL, cache_dir=tmp_path / "c")
    assert data.train.video_names == ("train/hop/a.avi", "train/sit/b.avi")
    assert data.test.video_names == (f"{second}/hop/c.avi",)
    assert data.notes == ("No test video of sit.",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "No video"),
        (["hop/a.avi", "hop/b.avi"], "one class"),
        (["train/hop/a.avi", "train/sit/a.avi", "test/run/a.avi"], "No training video of run"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, make_video, names, message):
    (tmp_path / "v").mkdir()
    fill(tmp_path / "v", make_video, names)
    with pytest.raises(UserError, match=message):
        video_folder.load(tmp_path / "v", cache_dir=tmp_path / "c")


def test_a_class_of_one_video_is_only_trained_and_told(tmp_path, make_video):
    fill(tmp_path / "v", make_video, ["hop/a.avi", "sit/a.avi", "sit/b.avi"])
    data = video_folder.load(tmp_path / "v", **SMALL, cache_dir=tmp_path / "c")
    assert data.notes[0] == "No test video of hop."
    assert data.notes[1].startswith("Split at random: 30% of each class is tested, seed 0; names")
    assert len(data.train.video_names) == 2


def test_a_fraction_outside_is_refused(tmp_path):
    with pytest.raises(UserError, match="test_fraction"):
        video_folder.load(tmp_path, test_fraction=1.0)
