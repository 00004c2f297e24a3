import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stdcf.data.clips.clips import ClipDataset, ClipPlan, plan_runs, window, window_starts


@given(
    num_frames=st.integers(1, 200),
    clip_frames=st.integers(1, 32),
    step=st.integers(1, 40),
    last=st.booleans(),
)
def test_windows_stay_inside_come_once_and_cover_the_end(num_frames, clip_frames, step, last):
    starts = window_starts(num_frames, clip_frames, step, last=last)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    for start in starts:
        frames = window(start, num_frames, clip_frames)
        assert len(frames) == clip_frames
        assert frames.max() < num_frames
        if num_frames >= clip_frames:
            assert (np.diff(frames) == 1).all()
    if last:
        assert window(starts[-1], num_frames, clip_frames)[-1] == num_frames - 1
    else:
        assert len(starts) == max(num_frames - clip_frames, 0) // step + 1


def small_dataset() -> ClipDataset:
    videos = [
        np.arange(count * 2 * 3 * 4, dtype=np.uint8).reshape(count, 2, 3, 4) for count in (9, 3)
    ]
    runs = [(0, np.arange(5)), (1, np.array([0, 1, 2, 2, 2])), (0, np.arange(4, 9))]
    return ClipDataset(videos, ["a.avi", "b.avi"], [1, 0], ["x", "y"], plan_runs(runs, 5))


def test_clips_hold_their_frames_channels_first():
    data = small_dataset()
    assert (len(data), data.classes, data.video_names) == (3, ("x", "y"), ("a.avi", "b.avi"))
    assert data.clip_shape == (2, 5, 3, 4)
    clip_CTHW, label, video = data[2]
    assert (label, video) == (1, 0)
    assert clip_CTHW.dtype == torch.uint8
    assert np.array_equal(clip_CTHW.numpy(), data.videos[0][4:9].transpose(1, 0, 2, 3))


def test_a_batch_equals_its_clips():
    data = small_dataset()
    clip_BCTHW, label_B, video_B = data.__getitems__([1, 0, 1])
    for row, index in enumerate([1, 0, 1]):
        clip_CTHW, label, video = data[index]
        assert torch.equal(clip_BCTHW[row], clip_CTHW)
        assert (label_B[row], video_B[row]) == (label, video)
    assert label_B.dtype == video_B.dtype == torch.int64
    assert data.labels.tolist() == [1, 0, 1]
    assert data.video_of_clip.tolist() == [0, 1, 0]


def test_a_clip_may_span_two_videos():
    videos = [np.full((4, 1, 2, 2), value, np.uint8) for value in (10, 20)]
    plan = ClipPlan(np.array([[0, 0, 1, 1]]), np.array([[2, 3, 0, 1]]))
    data = ClipDataset(videos, ["a", "b"], [0, 1], ["x", "y"], plan)
    clip_CTHW, label, video = data[0]
    assert clip_CTHW[0, :, 0, 0].tolist() == [10, 10, 20, 20]
    assert (label, video) == (0, 0)  # its first frame's


def test_pickling_carries_no_frames(tmp_path):
    frames = np.zeros((100, 1, 60, 80), np.uint8)
    np.save(tmp_path / "v.npy", frames)
    data = ClipDataset([tmp_path / "v.npy"], ["v"], [0], ["x"], plan_runs([(0, np.arange(16))], 16))
    data[0]
    pickled = pickle.dumps(data)
    assert len(pickled) < 4000
    assert torch.equal(pickle.loads(pickled)[0][0], data[0][0])


def test_an_index_outside_is_an_error():
    with pytest.raises(IndexError):
        small_dataset()[3]
