import threading
import time

import numpy as np
import pytest
import torch

from stdcf.data.clips import loader
from stdcf.data.clips.clips import ClipDataset, plan_runs
from stdcf.data.clips.loader import batches


def dataset(videos: int = 5, frames: int = 64) -> ClipDataset:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (frames, 1, 60, 80), np.uint8) for _ in range(videos)]
    runs = [
        (video, np.arange(start, start + 16))
        for video in range(videos)
        for start in range(0, frames - 15, 4)
    ]
    names = [f"{video}.avi" for video in range(videos)]
    return ClipDataset(arrays, names, [0] * videos, ["x"], plan_runs(runs, 16))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # a machine of one core
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_batches_are_the_same_for_any_number_of_workers(num_workers):
    data = dataset()
    order = np.random.default_rng(1).permutation(len(data))[:38]
    alone = list(batches(data, 8, order=order))
    together = list(batches(data, 8, order=order, num_workers=num_workers))
    assert [len(clip) for clip, _, _ in alone] == [8, 8, 8, 8, 6]
    for one, other in zip(alone, together, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert (
        torch.cat([video for _, _, video in alone]).tolist() == data.video_of_clip[order].tolist()
    )


def test_the_global_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    list(batches(dataset(1), 8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_thousand_clips_a_second_on_one_core(tmp_path):
    data = dataset()
    for video, frames in enumerate(data.videos):
        np.save(tmp_path / f"{video}.npy", frames)
        data.videos[video] = tmp_path / f"{video}.npy"
    rng = np.random.default_rng(0)
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        clips = sum(len(clip) for clip, _, _ in batches(data, 16, order=rng.permutation(len(data))))
        best = max(best, clips / (time.perf_counter() - start))
    assert best >= 1000


class Hanging(ClipDataset):
    def __getitems__(self, indices):
        threading.Event().wait()


def test_a_worker_that_hangs_is_an_error_after_a_while(monkeypatch):
    monkeypatch.setattr(loader, "_STALL_SECONDS", 1.0)
    hanging = dataset()
    hanging.__class__ = Hanging
    with pytest.raises(RuntimeError, match="timed out after 1"):
        next(batches(hanging, 4, num_workers=1))
