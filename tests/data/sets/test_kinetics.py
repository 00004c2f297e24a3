"""Kinetics-400 in its formats: what is found, what is drawn, what is left out and named."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from stdcf.data.clips.loader import batches
from stdcf.data.clips.streamed import RandomClips, VideoViews
from stdcf.data.clips.transforms import IMAGENET
from stdcf.data.sets import kinetics
from stdcf.data.sets.tree import is_video
from stdcf.data.tools import generate
from stdcf.data.tools.verify import Fault, find_faults
from stdcf.data.video.encode import Codec, write_video
from stdcf.errors import UserError
from stdcf.stages.stage import itsl
from stdcf.training.step import Numerics
from suites.engine.catalog import load_dataset

LOSSLESS = Codec("libx264", {"crf": "1", "preset": "ultrafast"})
AMOUNT = generate.Amount(classes=4, train=2, test=1, frames=70, size=(64, 84))
# As the paper's, at a quarter of its size.
SMALL = {
    "crop": 56,
    "short_side": [64, 80],
    "test_crop": 64,
    "test_short_side": 64,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "kinetics400"
    assert generate.generate("kinetics400", root, AMOUNT) == 12
    return root


@pytest.fixture
def tree(made, tmp_path) -> Path:
    """A copy to break."""
    shutil.copytree(made, tmp_path / "tree")
    return tmp_path / "tree"


def test_a_csv_tree_of_four_containers(made):
    data = load_dataset("kinetics400", str(made), **SMALL)
    assert (len(data.train), len(data.test)) == (8, 4)
    assert {name.rpartition(".")[2] for name in data.train.video_names} == {
        "mp4",
        "mkv",
        "avi",
        "webm",
    }
    assert data.synthetic
    assert data.pixels == IMAGENET
    assert data.classes == tuple(
        sorted(f"moving {d} {i}" for i, d in enumerate(generate._DIRECTIONS))
    )
    with (made / "train.csv").open(newline="") as file:
        labels = {
            f"{r['youtube_id']}_{int(r['time_start']):06d}_{int(r['time_end']):06d}": r["label"]
            for r in csv.DictReader(file)
        }
    for name, label in zip(data.train.video_names, data.train.labels, strict=True):
        assert data.classes[label] == labels[Path(name).stem]


def test_shapes_are_the_papers_by_default_and_itsl_trains_on_a_quarter_and_a_half(made):
    data = kinetics.load(made)
    assert data.train.clip_shape == (3, 8, 224, 224)
    assert data.test.clip_shape == (3, 8, 256, 256)
    assert isinstance(data.test, VideoViews)
    assert data.test.num_views == 30
    clip_BCTHW, *_ = data.train.__getitems__([0, 1])
    assert clip_BCTHW.shape == (2, 3, 8, 224, 224)
    numerics = Numerics(torch.device("cpu"), pixels=data.pixels)
    stage_t, stage_s = itsl(1, epochs=1, lr=0.1)
    t_BCTHW, s_BCTHW = (numerics.prepare(clip_BCTHW, stage) for stage in (stage_t, stage_s))
    assert t_BCTHW.shape == (2, 3, 8, 112, 112)
    assert s_BCTHW.shape == (2, 3, 4, 224, 224)
    # ImageNet's statistics, pixel means of 2×2, every second frame: by their definitions.
    mean, std = (np.array(v).reshape(3, 1, 1, 1) for v in (IMAGENET.mean, IMAGENET.std))
    x_CTHW = (clip_BCTHW[0].numpy() / 255 - mean) / std
    assert np.allclose(s_BCTHW[0], x_CTHW[:, ::2], atol=1e-5)
    quarters = x_CTHW.reshape(3, 8, 112, 2, 112, 2).mean((3, 5))
    assert np.allclose(t_BCTHW[0], quarters, atol=1e-5)


def test_a_clip_depends_on_its_video_and_the_draw_alone(made):
    data = kinetics.load(made, **SMALL)
    assert isinstance(data.train, RandomClips)
    first = data.train.drawn(0, 1, 2)
    together, *_ = first.__getitems__([3, 5, 1])
    for clip_CTHW, index in zip(together, (3, 5, 1), strict=True):
        assert torch.equal(clip_CTHW, first[index][0])
    assert not torch.equal(first[3][0], data.train.drawn(0, 1, 3)[3][0])
    alone = list(batches(first, 3))
    for num_workers in (1, 2):
        shared = list(batches(first, 3, num_workers=num_workers))
        assert len(shared) == len(alone) == 3
        for one, other in zip(alone, shared, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_clips_show_the_frames_that_are_drawn(tmp_path):
    """Each frame is as bright as its number: 10, 13, 16 … 247."""
    numbers = np.arange(80)
    frames = np.broadcast_to((10 + 3 * numbers)[:, None, None, None], (80, 64, 84, 3))
    for part in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / part / label).mkdir(parents=True)
            file = tmp_path / part / label / "video.mp4"
            write_video(file, np.ascontiguousarray(frames, np.uint8), LOSSLESS)
    data = kinetics.load(tmp_path, **SMALL)

    def shown(clip_CTHW: torch.Tensor) -> np.ndarray:
        return ((clip_CTHW.double().mean((0, 2, 3)).numpy() - 10) / 3).round().astype(int)

    views_VCTHW, *_ = data.test.__getitems__([0])
    for view, start in enumerate(round(16 * i / 9) for i in range(10)):
        for crop in range(3):
            assert shown(views_VCTHW[3 * view + crop]).tolist() == [start + 8 * i for i in range(8)]
    starts = set()
    for draw in range(20):
        frame_T = shown(data.train.drawn(draw)[0][0])
        assert (np.diff(frame_T) == 8).all()
        starts.add(int(frame_T[0]))
    assert min(starts) >= 0
    assert max(starts) <= 16
    assert len(starts) > 6


def test_views_are_clip_by_clip_and_left_to_right(made):
    data = kinetics.load(made, **SMALL)
    views_VCTHW, label_V, video_V, broken = data.test.__getitems__([2])
    assert views_VCTHW.shape == (30, 3, 8, 64, 64)
    assert broken == []
    assert set(label_V.tolist()) == {int(data.test.labels[2])}
    assert set(video_V.tolist()) == {2}
    # 84 columns: the crops begin at 0, 10 and 20, so neighbours share 54 columns.
    left, middle, right = views_VCTHW[:3]
    assert torch.equal(left[..., 10:], middle[..., :54])
    assert torch.equal(middle[..., 10:], right[..., :54])


def test_each_frame_of_thirty_views_is_decoded_once(made, monkeypatch):
    from stdcf.data.video import seek

    data = kinetics.load(made, **SMALL)
    converted: list[int] = []
    to_rgb = seek._ToRgb.__call__
    monkeypatch.setattr(
        seek._ToRgb,
        "__call__",
        lambda self, frame: converted.append(frame.pts) or to_rgb(self, frame),
    )
    data.test.__getitems__([0])
    assert len(converted) == len(set(converted))
    # Ten clips of 8 frames at 8, beginning at 0, 1, 1, 2, 3, 3, 4, 5, 5, 6 of 70 frames.
    starts = [round(6 * i / 9) for i in range(10)]
    assert len(converted) == len({s + 8 * i for s in starts for i in range(8)})


def test_a_folder_tree_needs_no_csv(tmp_path):
    generate.kinetics(tmp_path, AMOUNT, layout="folders")
    data = kinetics.load(tmp_path, **SMALL)
    assert (len(data.train), len(data.test)) == (8, 4)
    assert not data.synthetic
    for name, label in zip(data.test.video_names, data.test.labels, strict=True):
        assert name.startswith(f"val/{data.classes[label]}/")


def test_videos_may_lie_anywhere_and_annotations_in_their_own_folder(tree):
    (tree / "annotations").mkdir()
    for part in ("train", "val"):
        shutil.move(tree / f"{part}.csv", tree / "annotations" / f"{part}.csv")
    (tree / "replacement" / "for" / "corrupted").mkdir(parents=True)
    moved = sorted((tree / "train").iterdir())[0]
    shutil.move(moved, tree / "replacement" / "for" / "corrupted" / moved.name)
    # The official test list names videos without their labels.
    (tree / "annotations" / "test.csv").write_text(
        "youtube_id,time_start,time_end,split\na,0,10,test\n"
    )
    data = kinetics.load(tree, **SMALL)
    assert (len(data.train), len(data.test)) == (8, 4)
    assert f"replacement/for/corrupted/{moved.name}" in data.train.video_names


def test_missing_videos_are_counted_and_named(tree):
    gone = sorted((tree / "train").iterdir())[0]
    gone.unlink()
    data = kinetics.load(tree, **SMALL)
    assert len(data.train) == 7
    assert f"1 listed videos of kinetics400 are not there ({gone.stem})" in data.notes[0]
    sound, faults = find_faults("kinetics400", tree)
    assert (sound, faults) == (11, [Fault(gone.stem, "missing")])


def test_a_broken_video_is_left_out_named_and_found_by_verify(tree):
    victim = sorted((tree / "train").glob("*.mp4"))[0]
    victim.write_bytes(victim.read_bytes()[:-100])
    data = kinetics.load(tree, **SMALL)
    named: dict[str, str] = {}
    found = list(batches(data.train, 4, on_broken=named.__setitem__))
    assert [len(labels) for _, labels, _ in found] in ([3, 4], [4, 3])
    seen = torch.cat([videos for _, _, videos in found]).tolist()
    assert sorted(data.train.video_names[v] for v in seen) == sorted(
        set(data.train.video_names) - {f"train/{victim.name}"}
    )
    assert list(named) == [f"train/{victim.name}"]
    assert named[f"train/{victim.name}"].startswith("truncated")
    with pytest.raises(UserError, match=r"truncated.*Copy it again"):
        list(batches(data.train, 4))
    sound, faults = find_faults("kinetics400", tree)
    assert sound == 11
    assert [fault.file for fault in faults] == [f"train/{victim.name}"]


def test_the_manifest_is_of_videos_and_options_never_of_the_place(made, tree):
    manifest = kinetics.load(made, **SMALL).manifest
    assert kinetics.load(tree, **SMALL).manifest == manifest
    assert kinetics.load(made, **SMALL, test_clips=5).manifest != manifest
    assert kinetics.load(made, **SMALL, interval=4).manifest != manifest
    video = sorted((tree / "val").iterdir())[0]
    video.write_bytes(video.read_bytes() + b"\0")
    assert kinetics.load(tree, **SMALL).manifest != manifest


def test_real_clips_come_through(real_data, tmp_path):
    """The Kinetics clips, by their ids alone, and the corrupted one."""
    clips = {
        "SOX5yA1l24A": "train",
        "R6llTwEh07w": "train",
        "corrupted": "train",
        "WUzgd7C1pWA": "val",
    }
    for part in ("train", "val"):
        rows = [f"{name[0]},{name},0,10,{part}" for name, p in clips.items() if p == part]
        (tmp_path / f"{part}.csv").write_text(
            "\n".join(["label,youtube_id,time_start,time_end,split", *rows])
        )
    for name in clips:
        (tmp_path / f"{name}.mp4").symlink_to(real_data(f"clips/{name}.mp4"))
    data = kinetics.load(tmp_path)
    named: dict[str, str] = {}
    ((clip_BCTHW, _, _),) = batches(data.train, 8, on_broken=named.__setitem__)
    assert clip_BCTHW.shape == (2, 3, 8, 224, 224)
    assert named == {"corrupted.mp4": "Invalid data found when processing input"}
    ((views, _, _),) = batches(data.test, 1)
    assert views.shape == (30, 3, 8, 256, 256)


def test_all_real_clips_and_what_verify_says_of_them(real_data, tmp_path):
    """HMDB51, UCF101, Kinetics, Something-Something: AVI, MP4, WebM and MOV, and a broken one."""
    clips = sorted(f for f in real_data("clips").iterdir() if is_video(f.name))
    assert len(clips) == 15
    for part in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / part / label).mkdir(parents=True)
    for clip in clips:
        (tmp_path / "train" / "a" / clip.name).symlink_to(clip)
    for part, label in (("train", "b"), ("val", "a"), ("val", "b")):
        shutil.copyfile(real_data("clips/vid.mp4"), tmp_path / part / label / "vid.mp4")
    data = kinetics.load(tmp_path, crop=56, short_side=[64, 80])
    named: dict[str, str] = {}
    found = list(batches(data.train, 16, on_broken=named.__setitem__))
    assert sum(len(labels) for _, labels, _ in found) == 15
    assert list(named) == ["train/a/corrupted.mp4"]
    sound, faults = find_faults("kinetics400", tmp_path)
    assert sound == 17
    assert [fault.file for fault in faults] == ["train/a/corrupted.mp4"]
    assert faults[0].reason.startswith("Invalid data found when processing input")


def test_a_preview_shows_both_splits_at_one_size(made):
    from stdcf.data.tools.preview import contact_sheet

    sheet = contact_sheet(kinetics.load(made), clips_per_class=2, frames=4)
    # 4 classes × 2 rows of 120 pixels, which is what 224 are made.
    assert sheet.height == 22 + 8 * (120 + 2)
    assert sheet.width == 190 + 4 * (120 + 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 300}, "short_side"),
        ({"test_clips": 0}, "test_clips=0"),
        ({"sampling": "sparse"}, "method: Input should be 'dense' or 'segments'"),
        ({"frames": 0}, "frames: .*greater than 0"),
        ({"colour": 1}, "kinetics400 has no option 'colour'"),
    ],
)
def test_wrong_options_are_one_line(made, options, message):
    with pytest.raises(UserError, match=message) as error:
        load_dataset("kinetics400", str(made), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds neither a CSV file"),
        ("label,id\nx,y\n", "lacks the columns youtube_id, time_start, time_end"),
        ("label,youtube_id,time_start,time_end,split\nx,a,soon,10,train\n", "a has no times"),
        ("label,youtube_id,time_start,time_end,split\nx,a,0,10,train\n", "No train video"),
    ],
)
def test_wrong_folders_are_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "train.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        kinetics.load(tmp_path)
    with pytest.raises(UserError, match=r"No folder .*nowhere"):
        kinetics.load(tmp_path / "nowhere")
