import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdcf.data.sets import kth
from stdcf.data.sets.kth_sequences import (
    ACTIONS,
    TEST_PERSONS,
    TRAIN_PERSONS,
    VALIDATION_PERSONS,
    KthVideo,
    parse_sequences,
    plan_clips,
    read_sequences,
)
from stdcf.errors import UserError

HEAD = "Training:   person11, 12\r\n\r\n"


def write_kth(root: Path, make_video, lines: dict[str, str], frames: int = 50) -> None:
    """A small KTH: `lines` are names and ranges, each name's video is made."""
    for seed, name in enumerate(lines):
        action = name.split("_")[1]
        make_video(root / action / f"{name}_uncomp.avi", frames, seed=seed)
    rows = "".join(f"{name}\t\tframes\t{ranges}\r\n" for name, ranges in lines.items())
    (root / "00sequences.txt").write_bytes((HEAD + rows).encode())


def test_the_list_is_read_with_its_quirks():
    videos = parse_sequences(
        HEAD + "person01_boxing_d1\t\tframes\t1-95, 96-185, 180-245\r\n"
        "person13_handclapping_d3\t*missing*\r\n"
        "person07_jogging_d2    \tframes\t1-42\r\n"
    )
    assert videos == (
        KthVideo("person01_boxing_d1", 1, "boxing", 1, ((1, 95), (96, 185), (180, 245))),
        KthVideo("person07_jogging_d2", 7, "jogging", 2, ((1, 42),)),
    )
    assert videos[0].file == "boxing/person01_boxing_d1_uncomp.avi"


@pytest.mark.parametrize("ranges", ["1-95, x", "0-5", "9-3", "5"])
def test_an_unreadable_range_names_its_line(ranges):
    with pytest.raises(UserError, match="line 3"):
        parse_sequences(HEAD + f"person01_boxing_d1\tframes\t{ranges}\n")


def test_the_official_list_has_2391_subsequences_of_599_videos(real_data):
    videos = read_sequences(real_data("kth"))
    assert len(videos) == 599
    assert sum(len(video.ranges) for video in videos) == 2391
    assert {video.action for video in videos} == set(ACTIONS)
    parts = (*TRAIN_PERSONS, *VALIDATION_PERSONS, *TEST_PERSONS)
    assert sorted(parts) == list(range(1, 26))


@pytest.mark.parametrize(
    ("counting", "train", "test"),
    [("subsequence", 4338, 4216), ("video", 4599, 4484), ("joined", 4685, 4574)],
)
def test_clip_counts_of_the_whole_set(real_data, counting, train, test):
    """paper/notes.md; the paper itself states 4667 and 4551, joined comes closest."""
    videos = read_sequences(real_data("kth"))
    assert len(plan_clips(videos, TRAIN_PERSONS, counting)) == train
    assert len(plan_clips(videos, VALIDATION_PERSONS, counting)) == test
    if counting == "joined":
        assert abs(train - 4667) / 4667 < 0.006
        assert abs(test - 4551) / 4551 < 0.006


ranges = st.tuples(st.integers(1, 60), st.integers(0, 60)).map(lambda r: (r[0], r[0] + r[1]))
sequences = st.lists(
    st.builds(
        lambda person, action, ranges: KthVideo("v", person, action, 1, tuple(ranges)),
        st.integers(1, 4),
        st.sampled_from(ACTIONS),
        st.lists(ranges, min_size=1, max_size=4),
    ),
    max_size=5,
)


@given(sequences, st.sampled_from(["subsequence", "video", "joined"]), st.integers(1, 20))
def test_clips_lie_in_their_ranges(videos, counting, clip_frames):
    plan = plan_clips(videos, {1, 2}, counting, clip_frames)
    assert plan.frames.shape == plan.videos.shape == (len(plan), clip_frames)
    for video_T, frame_T in zip(plan.videos, plan.frames, strict=True):
        for video, frame in zip(video_T, frame_T, strict=True):
            assert videos[video].person in {1, 2}
            assert any(first <= frame + 1 <= last for first, last in videos[video].ranges)
        if counting != "joined":
            assert len(set(video_T.tolist())) == 1
    if counting == "subsequence":
        lengths = [b - a + 1 for v in videos if v.person in {1, 2} for a, b in v.ranges]
        assert len(plan) == sum(max(length // clip_frames, 1) for length in lengths)


@given(sequences)
def test_no_frame_is_used_twice_where_ranges_do_not_overlap(videos):
    apart = [
        KthVideo(
            "v",
            v.person,
            v.action,
            1,
            tuple((100 * i + 20, 100 * i + 20 + b - a) for i, (a, b) in enumerate(v.ranges)),
        )
        for v in videos
    ]
    long_enough = all(b - a + 1 >= 8 for v in apart for a, b in v.ranges)
    plan = plan_clips(apart, {1, 2}, "subsequence", 8)
    pairs = set(zip(plan.videos.ravel().tolist(), plan.frames.ravel().tolist(), strict=True))
    if long_enough:
        assert len(pairs) == plan.frames.size


def test_persons_decide_the_split(tmp_path, make_video):
    write_kth(
        tmp_path / "k",
        make_video,
        {
            "person11_boxing_d1": "1-20, 21-50",
            "person19_walking_d2": "1-33",
            "person02_running_d1": "1-50",
        },
    )
    data = kth.load(tmp_path / "k", size=(12, 16), cache_dir=tmp_path / "c")
    assert data.train.video_names == ("boxing/person11_boxing_d1_uncomp.avi",)
    assert data.test.video_names == ("walking/person19_walking_d2_uncomp.avi",)
    assert data.train.plan.frames[:, 0].tolist() == [0, 20]
    assert data.test.plan.frames[:, 0].tolist() == [0, 16]
    assert data.train.labels.tolist() == [0, 0]
    assert data.test.labels.tolist() == [5, 5]
    told = ("Tested and never trained: walking.",)
    assert (data.name, data.classes, data.notes, data.synthetic) == ("kth", ACTIONS, told, False)
    test = kth.load(tmp_path / "k", size=(12, 16), cache_dir=tmp_path / "c", report_on="test").test
    assert test.video_names == ("running/person02_running_d1_uncomp.avi",)


def test_the_manifest_follows_content_and_options_not_the_place(tmp_path, make_video):
    lines = {"person11_boxing_d1": "1-50", "person19_boxing_d1": "1-50"}
    write_kth(tmp_path / "k", make_video, lines)

    def manifest(**options) -> str:
        return kth.load(tmp_path / "k", size=(12, 16), cache_dir=tmp_path / "c", **options).manifest

    first = manifest()
    assert len(bytes.fromhex(first)) == 32
    assert manifest(counting="joined") != first
    assert manifest(clip_frames=8) != first
    (tmp_path / "k").rename(tmp_path / "moved")
    moved = kth.load(tmp_path / "moved", size=(12, 16), cache_dir=tmp_path / "other", workers=1)
    assert moved.manifest == first
    (tmp_path / "moved").rename(tmp_path / "k")
    write_kth(tmp_path / "k", make_video, {**lines, "person11_boxing_d1": "2-50"})
    assert manifest() != first
    write_kth(tmp_path / "k", make_video, lines)
    assert manifest() == first
    make_video(tmp_path / "k" / "boxing" / "person11_boxing_d1_uncomp.avi", 50, seed=7)
    assert manifest() != first


def test_ranges_past_the_end_and_short_ones_are_told(tmp_path, make_video):
    lines = {"person11_boxing_d1": "1-40, 41-90", "person19_boxing_d1": "1-9, 60-80"}
    write_kth(tmp_path / "k", make_video, lines)
    data = kth.load(tmp_path / "k", size=(12, 16), cache_dir=tmp_path / "c")
    assert data.train.plan.frames[-1].tolist() == [40, *range(41, 50), *[49] * 6]
    assert data.test.plan.frames.tolist() == [[*range(9), *[8] * 7]]
    ended, short = data.notes
    assert ended.startswith("2 videos end before their annotated ranges")
    assert short.startswith("2 videos have ranges shorter than 16 frames")


def test_generated_videos_are_never_taken_for_film(tmp_path, make_video):
    lines = {"person11_boxing_d1": "1-50", "person19_boxing_d1": "1-50"}
    write_kth(tmp_path / "k", make_video, lines)
    (tmp_path / "k" / kth.SYNTHETIC_MARKER).write_text(json.dumps({}))
    assert kth.load(tmp_path / "k", size=(12, 16), cache_dir=tmp_path / "c").synthetic


def test_what_is_missing_is_said(tmp_path, make_video):
    with pytest.raises(UserError, match="No folder"):
        kth.load(tmp_path / "k")
    (tmp_path / "k").mkdir()
    with pytest.raises(UserError, match=r"suites\.data download kth"):
        kth.load(tmp_path / "k")
    (tmp_path / "k" / "00sequences.txt").write_text("nothing")
    with pytest.raises(UserError, match="lists no video"):
        kth.load(tmp_path / "k")
    write_kth(tmp_path / "k", make_video, {"person11_boxing_d1": "1-50"})
    with pytest.raises(UserError, match="No test video of KTH"):
        kth.load(tmp_path / "k", cache_dir=tmp_path / "c")
    with pytest.raises(UserError, match="report_on='all'"):
        kth.load(tmp_path / "k", report_on="all")


def test_wrong_options_are_said(tmp_path, make_video):
    lines = {"person11_boxing_d1": "1-50", "person19_boxing_d1": "1-50"}
    write_kth(tmp_path / "k", make_video, lines)
    for options in ({"counting": "all"}, {"clip_frames": 0}, {"size": (0, 80)}, {"channels": 2}):
        with pytest.raises(UserError, match=next(iter(options))):
            kth.load(tmp_path / "k", cache_dir=tmp_path / "c", **options)


def test_the_partial_real_copy(real_data, tmp_path):
    data = kth.load(real_data("kth"), cache_dir=tmp_path)
    assert data.notes == (
        "17 of 599 KTH videos found (persons 01, 07, 15; 7 to train, 6 to test); "
        "accuracy from a partial copy is not KTH's.",
    )
    assert (len(data.train), len(data.test)) == (140, 108)
    assert data.train.clip_shape == (1, 16, 60, 80)
    joined = kth.load(real_data("kth"), cache_dir=tmp_path, counting="joined")
    assert len(joined.train) > len(data.train)
    clip_BCTHW, _, video_B = joined.train.__getitems__(range(len(joined.train)))
    assert clip_BCTHW.shape == (len(joined.train), 1, 16, 60, 80)
    assert sorted(set(video_B.tolist())) == list(range(7))
