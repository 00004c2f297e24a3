"""Frames of clips against the definitions of the papers that they come from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stdcf.data.clips.sampling import Sampling

PAPER = Sampling(method="dense", frames=8, interval=8)


@given(num_frames=st.integers(64, 400), seed=st.integers(0, 1000))
def test_dense_clips_are_8_frames_at_8_out_of_64_consecutive(num_frames, seed):
    clip_T = PAPER.draw(num_frames, np.random.default_rng(seed))
    assert len(clip_T) == 8
    assert (np.diff(clip_T) == 8).all()
    assert 0 <= clip_T[0] <= num_frames - 64


def test_every_start_is_drawn_and_none_more_often_than_chance():
    rng = np.random.default_rng(0)
    starts = [int(PAPER.draw(67, rng)[0]) for _ in range(4000)]
    counts = np.bincount(starts, minlength=4)
    assert len(counts) == 4  # 64 frames fit at 0, 1, 2 and 3
    # Within 4 standard deviations of 1000.
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(4000 * 0.25 * 0.75)


def test_ten_test_clips_span_the_video_evenly():
    views_KT = PAPER.views(300, 10)
    assert views_KT.shape == (10, 8)
    # The i-th of ten starts at i/9 of the 236 frames that a clip of 64 can move.
    assert views_KT[:, 0].tolist() == [round(236 * i / 9) for i in range(10)]
    assert views_KT[-1, 0] + 64 == 300
    assert (np.diff(views_KT, axis=1) == 8).all()


def test_one_dense_test_clip_is_the_middle_one():
    assert PAPER.views(264, 1)[0, 0] == 100


@pytest.mark.parametrize("method", ["dense", "segments"])
@pytest.mark.parametrize("num_frames", [1, 3, 40, 63])
def test_short_videos_repeat_frames_and_stay_inside(method, num_frames):
    sampling = Sampling(method=method)
    for clip_T in (
        sampling.draw(num_frames, np.random.default_rng(0)),
        *sampling.views(num_frames, 10),
    ):
        assert len(clip_T) == 8
        assert clip_T.min() >= 0
        assert clip_T.max() < num_frames
        assert (np.diff(clip_T) >= 0).all()
    if method == "dense":
        expected = [min(8 * i, num_frames - 1) for i in range(8)]
        assert sampling.views(num_frames, 1)[0].tolist() == expected


@given(num_frames=st.integers(1, 400), frames=st.integers(1, 32), seed=st.integers(0, 1000))
def test_segments_give_one_frame_of_each_equal_part(num_frames, frames, seed):
    sampling = Sampling(method="segments", frames=frames)
    clip_T = sampling.draw(num_frames, np.random.default_rng(seed))
    for i, frame in enumerate(clip_T):
        # Frame f covers the time [f, f + 1); segment i is [i, i + 1) · num_frames / frames.
        assert frame < (i + 1) * num_frames / frames
        assert frame + 1 > i * num_frames / frames


def test_each_frame_of_a_segment_is_drawn():
    rng = np.random.default_rng(0)
    clips = np.stack([Sampling(method="segments").draw(40, rng) for _ in range(300)])
    for i in range(8):
        assert set(clips[:, i].tolist()) == set(range(5 * i, 5 * i + 5))


def test_segments_are_tested_in_their_middle():
    # TSN's test clip: of 8 segments of 5 frames the third of each.
    assert Sampling(method="segments").views(40, 1)[0].tolist() == [2 + 5 * i for i in range(8)]


@pytest.mark.parametrize("num_frames", [8, 30, 40, 61, 300])
def test_two_clips_of_segments_are_tsms_twice_sample(num_frames):
    # ops/dataset.py of mit-han-lab/temporal-shift-module, counted from 0.
    tick = num_frames / 8
    middle = [int(tick / 2.0 + tick * x) for x in range(8)]
    first = [int(tick * x) for x in range(8)]
    assert Sampling(method="segments").views(num_frames, 2).tolist() == [middle, first]


def test_more_clips_of_segments_are_evenly_spaced():
    assert sorted(Sampling(method="segments").views(64, 4)[:, 0].tolist()) == [0, 2, 4, 6]


@pytest.mark.parametrize(
    "wrong", [{"method": "sparse"}, {"frames": 0}, {"interval": 0}, {"stride": 2}]
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        Sampling.model_validate(wrong)
