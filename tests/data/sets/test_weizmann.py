import pytest

from stdcf.data.frames.cache import read_frames
from stdcf.data.sets import weizmann
from stdcf.errors import UserError


def test_both_forms_of_names_are_taken(tmp_path, make_video):
    names = ["lena_run1", "lena_run2", "lena_wave1", "eli_wave2", "eli_skip1", "eli_pjump"]
    for seed, name in enumerate(names):
        make_video(tmp_path / "w" / f"{name}.avi", 21, seed=seed)
    make_video(tmp_path / "w" / "nobody_run.avi", 21)
    data = weizmann.load(tmp_path / "w", size=(12, 16), cache_dir=tmp_path / "c")
    assert data.train.video_names == ("lena_run1.avi", "lena_run2.avi", "lena_wave1.avi")
    assert data.test.video_names == ("eli_pjump.avi", "eli_skip1.avi", "eli_wave2.avi")
    actions = [data.classes[label] for label in data.test.labels]
    assert actions == ["pjump", "pjump", "skip", "skip", "wave2", "wave2"]
    assert data.train.plan.frames[:, 0].tolist() == [0, 4] * 3
    assert data.test.plan.frames[:, 0].tolist() == [0, 5] * 3  # every 16, and the last
    assert data.notes[0].startswith("5 of 90 Weizmann videos found (no daria_bend, …)")
    assert data.notes[1] == "Left out: nobody_run.avi (not named <person>_<action>)."


def test_short_videos_are_padded_and_told(tmp_path, make_video):
    for seed, name in enumerate(("lena_run", "eli_run")):
        make_video(tmp_path / "w" / f"{name}.avi", 10, seed=seed)
    data = weizmann.load(tmp_path / "w", size=(12, 16), cache_dir=tmp_path / "c")
    assert data.train.plan.frames.tolist() == [[*range(10), *[9] * 6]]
    assert data.notes[-1].startswith("2 of 2 videos are shorter than 16 frames")


@pytest.mark.parametrize(
    ("given", "persons"),
    [
        ("fold-eli", ("eli",)),
        ("shahar, ira,eli", ("eli", "ira", "shahar")),
        (("moshe", "Lena"), ("lena", "moshe")),
    ],
)
def test_test_persons_by_name_or_fold(given, persons):
    assert weizmann.parse_persons(given) == persons


def test_the_nine_folds_leave_each_person_out_once():
    assert sorted(person for fold in weizmann.FOLDS.values() for person in fold) == sorted(
        weizmann.PERSONS
    )


def test_wrong_persons_and_empty_folders_are_said(tmp_path, make_video):
    with pytest.raises(UserError, match="No Weizmann person 'bob'"):
        weizmann.load(tmp_path, test_persons="bob")
    with pytest.raises(UserError, match="No Weizmann video"):
        weizmann.load(tmp_path)
    make_video(tmp_path / "lena_run.avi", 20)
    with pytest.raises(UserError, match="No test video"):
        weizmann.load(tmp_path, cache_dir=tmp_path / "c")


def test_the_real_set(real_data, tmp_path):
    root = real_data("weizmann")
    data = weizmann.load(root, cache_dir=tmp_path)
    assert (len(data.train.video_names), len(data.test.video_names)) == (60, 30)
    assert data.notes == ()
    counts = {}
    for part in (data.train, data.test):
        for name, file in zip(part.video_names, part.videos, strict=True):
            counts[name] = len(read_frames(file))
    # 36 to 146 frames a video (data/README.md); the clips follow from them by a closed formula.
    assert (len(counts), min(counts.values()), max(counts.values())) == (90, 36, 146)
    trained = [counts[name] for name in data.train.video_names]
    tested = [counts[name] for name in data.test.video_names]
    assert len(data.train) == sum((frames - 16) // 4 + 1 for frames in trained)
    assert len(data.test) == sum(-(-(frames - 16) // 16) + 1 for frames in tested)
    fold = weizmann.load(root, cache_dir=tmp_path, test_persons="fold-lena")
    assert all(name.startswith("lena_") for name in fold.test.video_names)
    assert fold.manifest != data.manifest
