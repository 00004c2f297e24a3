"""How fast clips come from real files, in CPU time: other work on the machine is left out."""

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch

from stdcf.data.clips.crops import Crops
from stdcf.data.clips.sampling import Sampling
from stdcf.data.clips.streamed import RandomClips, VideoFiles, VideoViews
from stdcf.data.clips.transforms import IMAGENET
from stdcf.data.video.encode import Codec, write_video
from stdcf.training.step import Numerics

# Kinetics as it is distributed: 340×256, H.264, about ten seconds.
CLIPS = ("R6llTwEh07w.mp4", "SOX5yA1l24A.mp4", "WUzgd7C1pWA.mp4")
NUMERICS = Numerics(torch.device("cpu"), channels_last=False, pixels=IMAGENET)
DRAWS = 3


def cpu_seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(2):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_normalised_clips_come_at_nine_tenths_of_bare_decodings_rate(real_data, one_thread):
    import av

    root = real_data("clips")
    videos = VideoFiles(root, CLIPS, np.zeros(len(CLIPS), np.int64))
    clips = RandomClips(videos, ("x",), Sampling(), Crops())
    timestamps = []
    for name in CLIPS:
        with av.open(str(root / name)) as container:
            packets = container.demux(video=0)
            timestamps.append(sorted(packet.pts for packet in packets if packet.size))

    def deliver(video: int, draw: int) -> torch.Tensor:
        clip_BCTHW, *_ = clips.drawn(draw).__getitems__([video])
        return NUMERICS.prepare(clip_BCTHW)

    def decode(video: int, draw: int) -> None:
        """The same frames with nothing else: seek, then decode to the clip's last frame."""
        times = timestamps[video]
        rng = np.random.default_rng((draw, video, 0))
        frame_T = Sampling().draw(len(times), rng)
        with av.open(str(root / CLIPS[video])) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            container.seek(times[frame_T[0]], stream=stream)
            for frame in container.decode(stream):
                if frame.pts >= times[frame_T[-1]]:
                    break

    assert deliver(0, 0).shape == (1, 3, 8, 224, 224)
    pairs = [(video, draw) for video in range(len(CLIPS)) for draw in range(DRAWS)]
    bare = sum(cpu_seconds(lambda p=pair: decode(*p)) for pair in pairs)
    ours = sum(cpu_seconds(lambda p=pair: deliver(*p)) for pair in pairs)
    print(f"{len(pairs) / ours:.1f} clips a second and core, {bare / ours:.2f} of bare decoding's")
    assert bare / ours >= 0.9


def test_memory_is_of_a_few_frames_whatever_their_size_and_number(tmp_path, one_thread):
    """32 frames of 1920×1080 take 190 MiB, kept whole."""
    write_video(
        tmp_path / "a.mp4", np.zeros((40, 1080, 1920, 3), np.uint8), Codec("mpeg4", {}), fps=25
    )
    videos = VideoFiles(tmp_path, ("a.mp4",), np.zeros(1, np.int64))
    sampling = Sampling(frames=32, interval=1)
    for clips in (
        RandomClips(videos, ("x",), sampling, Crops()),
        VideoViews(videos, ("x",), sampling, Crops(), 2),
    ):
        clips.__getitems__([0])
        tracemalloc.start()
        try:
            *_, broken = clips.__getitems__([0])
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert not broken
        assert peak_bytes < 3 * 1920 * 1080 * 3
