"""Something-Something v1 and v2 in their formats."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stdcf.data.clips.loader import batches
from stdcf.data.clips.streamed import VideoViews
from stdcf.data.sets import something
from stdcf.data.tools import generate
from stdcf.data.tools.verify import Fault, find_faults
from stdcf.errors import UserError
from suites.engine.catalog import load_dataset

AMOUNT = generate.Amount(classes=4, train=2, test=1, frames=24, size=(64, 84))
SMALL = {"crop": 56, "short_side": [64, 80], "test_crop": 56, "test_short_side": 64}
VIDEOS_1 = "20bn-something-something-v1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for name in ("something_v1", "something_v2"):
        assert generate.generate(name, root / name, AMOUNT) == 12
    return root


@pytest.fixture
def tree(made, tmp_path) -> Path:
    """A copy of v1 to break."""
    shutil.copytree(made / "something_v1", tmp_path / "tree")
    return tmp_path / "tree"


@pytest.mark.parametrize("name", ["something_v1", "something_v2"])
def test_both_formats(made, name):
    data = load_dataset(name, str(made / name), **SMALL)
    assert data.name == name
    assert (len(data.train), len(data.test)) == (8, 4)
    # In the order of the labels file, not of the alphabet.
    assert data.classes == tuple(
        f"Moving something {direction} {i}"
        for i, direction in enumerate(("right", "left", "down", "up"))
    )
    # Generated in the order of the classes, numbered from 1.
    numbers = [int(Path(video).stem) for video in data.train.video_names]
    by_number = dict(zip(numbers, data.train.labels.tolist(), strict=True))
    assert [by_number[n] for n in range(1, 9)] == [0, 0, 1, 1, 2, 2, 3, 3]
    clip_BCTHW, label_B, _ = next(batches(data.train, 8))
    assert clip_BCTHW.shape == (8, 3, 8, 56, 56)
    assert label_B.tolist() == data.train.labels.tolist()


def test_by_default_one_centre_crop_clip_and_no_mirroring(made):
    data = something.load(1, made / "something_v1")
    assert isinstance(data.test, VideoViews)
    assert data.test.num_views == 1
    assert data.test.clip_shape == (3, 8, 224, 224)
    assert data.train.clip_shape == (3, 8, 224, 224)
    assert not data.test.crops.flip
    assert data.test.sampling.method == "segments"


def test_frames_are_the_middle_of_each_segment_and_each_jpeg_is_read_once(made, monkeypatch):
    from stdcf.data.video import frame_folder

    read: list[int] = []
    original = frame_folder._read

    def counted(file):
        read.append(int(file.stem))
        return original(file)

    monkeypatch.setattr(frame_folder, "_read", counted)
    data = something.load(1, made / "something_v1", **SMALL, frames=16, test_crops=3)
    views_VCTHW, *_ = data.test.__getitems__([0])
    assert views_VCTHW.shape == (3, 3, 16, 56, 56)
    # 24 frames in 16 segments of 1.5: the middles are at 0.75 + 1.5·i; files count from 1.
    assert read == [int(0.75 + 1.5 * i) + 1 for i in range(16)]


def test_a_frame_is_what_pillow_reads(made):
    from PIL import Image

    options = {"test_crop": 64, "test_short_side": 64, "test_crops": 1, "frames": 1}
    data = something.load(1, made / "something_v1", **options)
    folder = made / "something_v1" / data.test.video_names[0]
    with Image.open(folder / "00013.jpg") as image:  # the middle one of 24, counted from 0
        expected_HWC = np.asarray(image)[:, 10:74]
    assert np.array_equal(data.test[0][0][:, 0].permute(1, 2, 0), expected_HWC)


@pytest.mark.parametrize(("flip", "rightwards"), [(False, 1.0), (True, 0.5)])
def test_a_clip_is_mirrored_only_when_asked_for(made, flip, rightwards):
    """The disc of `Moving something right` moves to the right, but for leaving the crop."""
    data = something.load(1, made / "something_v1", **SMALL, flip=flip)
    moves = []
    for draw in range(30):
        clip_CTHW, label, _ = data.train.drawn(draw)[0]
        assert label == 0
        red_TW = (clip_CTHW[0] > 200).double().mean(1)
        centre_T = (red_TW * torch.arange(56)).sum(1) / red_TW.sum(1)
        moves.append(float(np.nanmedian(centre_T.diff().sign())))
    assert np.mean(np.array(moves) > 0) == pytest.approx(rightwards, abs=0.25)


def test_multi_scale_crops_are_other_clips(made):
    root = made / "something_v1"
    plain = something.load(1, root, crop=56, test_crop=56, test_short_side=64)
    scaled = something.load(
        1, root, crop=56, test_crop=56, test_short_side=64, multi_scale=(1, 0.875, 0.75, 0.66)
    )
    assert scaled.train.clip_shape == (3, 8, 56, 56)
    assert scaled.train[0][0].shape == (3, 8, 56, 56)
    assert scaled.manifest != plain.manifest
    with pytest.raises(UserError, match="leave short_side out"):
        something.load(1, root, **SMALL, multi_scale=(1,))


def test_missing_and_broken_videos_are_named(tree):
    videos = tree / VIDEOS_1
    shutil.rmtree(videos / "1")
    (videos / "2" / "00005.jpg").unlink()
    frame = videos / "3" / "00024.jpg"
    frame.write_bytes(frame.read_bytes()[:200])
    (videos / "4" / "00001.jpg").write_text("no picture")
    data = something.load(1, tree, **SMALL, frames=24)
    assert "1 listed videos of something_v1 are not there (1)" in data.notes[0]
    named: dict[str, str] = {}
    seen = [v for *_, videos in batches(data.train, 4, on_broken=named.__setitem__) for v in videos]
    assert len(seen) == 4
    assert named.keys() == {f"{VIDEOS_1}/{n}" for n in (2, 3, 4)}
    assert named[f"{VIDEOS_1}/2"] == "frame 00005.jpg is missing"
    assert "00024.jpg" in named[f"{VIDEOS_1}/3"]
    assert named[f"{VIDEOS_1}/4"] == "frame 00001.jpg: no JPEG"
    sound, faults = find_faults("something_v1", tree)
    assert sound == 8
    assert {fault.file for fault in faults} == {"1", *named}
    assert Fault("1", "missing") in faults


def test_frames_may_lie_beside_the_lists(tree):
    for folder in (tree / VIDEOS_1).iterdir():
        shutil.move(folder, tree / folder.name)
    assert len(something.load(1, tree).train) == 8


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train", None, r"holds no \*train\*\.csv"),
        ("train", "1,Moving\n", "expected lines id;label"),
        ("labels", "Moving nothing\n", "lacks the label 'Moving something right 0' of video 1"),
    ],
)
def test_wrong_lists_of_v1_are_one_line(tree, file, content, message):
    path = tree / f"something-something-v1-{file}.csv"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        something.load(1, tree)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train", "[", "is not JSON"),
        ("train", json.dumps([{"id": "1"}]), "expected a list of objects with id and template"),
        ("labels", json.dumps(["a"]), "expected an object of label: number"),
    ],
)
def test_wrong_lists_of_v2_are_one_line(made, tmp_path, file, content, message):
    shutil.copytree(made / "something_v2", tmp_path / "tree")
    (tmp_path / "tree" / "labels" / f"{file}.json").write_text(content)
    with pytest.raises(UserError, match=message):
        something.load(2, tmp_path / "tree")


def test_the_generator_refuses_a_folder_in_use_and_odd_amounts(made, tmp_path):
    with pytest.raises(UserError, match="is not empty"):
        generate.generate("something_v1", made / "something_v1")
    with pytest.raises(UserError, match="choose kinetics400, something_v1, something_v2"):
        generate.generate("kth", tmp_path / "kth")
    with pytest.raises(UserError, match="at least 2 classes"):
        generate.generate("something_v1", tmp_path / "one", generate.Amount(classes=1))
