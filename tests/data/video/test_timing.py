"""Frames by their times: resampled to a rate, and those of a segment."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stdcf.data.clips.streamed import VideoFiles
from stdcf.data.video.decode import BrokenVideo
from stdcf.data.video.seek import frame_seconds, read_frames
from stdcf.data.video.timing import Timing

RATE, FRAMES = 25, 50
# Of every third frame the camera lost one.
UNEVEN_MS = [40 * (n + n // 2) for n in range(FRAMES)]
FILES = {
    "mpeg4.mp4": ("mpeg4", {}),
    "ms.webm": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    "plain.avi": ("mpeg4", {}),
    "b.avi": ("mpeg4", {"bf": "2"}),
    "b.mp4": ("libx264", {"preset": "ultrafast", "bf": "2"}),
}


def write(file: Path, codec: str, options: dict[str, str], times_ms: list[int]) -> Path:
    """A frame's number stands in it as eight bright or dark columns, its bits."""
    with av.open(str(file), "w") as out:
        stream = out.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        stream.options = options
        if file.suffix != ".avi":
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_ms in enumerate(times_ms):
            bits = np.array([number >> bit & 1 for bit in range(8)], np.uint8)
            picture = np.broadcast_to(np.repeat(40 + 160 * bits, 8)[None, :, None], (32, 64, 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if file.suffix != ".avi":
                frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file


def shown(file: Path, timing: Timing) -> list[int]:
    """The numbers of all frames that are offered."""
    pictures, place_T = read_frames(file, np.arange, timing=timing)
    bits = [picture.mean((0, 2)).reshape(8, 8).mean(1) > 120 for picture in pictures]
    numbers = [int((of_one * 2 ** np.arange(8)).sum()) for of_one in bits]
    return [numbers[place] for place in place_T]


@pytest.mark.parametrize("name", FILES)
def test_a_rate_takes_the_nearest_frames(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name, *FILES[name], [40 * n for n in range(FRAMES)])
    assert np.allclose(np.diff(frame_seconds(file)), 1 / RATE, atol=1.1e-3)
    assert shown(file, Timing()) == [*range(FRAMES)]
    assert shown(file, Timing(fps=25)) == [*range(FRAMES)]
    assert shown(file, Timing(fps=5)) == [*range(0, FRAMES, 5)]
    doubled = shown(file, Timing(fps=50))
    assert len(doubled) == 2 * FRAMES
    assert doubled[::2] == [*range(FRAMES)]
    assert set(np.diff(doubled)) == {0, 1}


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("avi")])
def test_an_uneven_film_is_resampled_by_its_timestamps(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name, *FILES[name], UNEVEN_MS)
    even = shown(file, Timing(fps=25))
    assert abs(len(even) - (UNEVEN_MS[-1] + 40) / 40) <= 1
    # 30 frames cover 44 ticks of 40 ms; counting frames would take the first 30 for them.
    nearest = [int(np.abs(np.array(UNEVEN_MS) - 40 * tick).argmin()) for tick in range(len(even))]
    assert max(abs(a - b) for a, b in zip(even, nearest, strict=True)) <= 1
    assert even[44] in (29, 30)


@pytest.mark.parametrize("name", FILES)
def test_a_segment_is_cut_by_its_times(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name, *FILES[name], [40 * n for n in range(FRAMES)])
    assert shown(file, Timing(span=(0.4, 0.8))) == [*range(10, 20)]
    assert shown(file, Timing(span=(1.6, 9.0))) == [*range(40, 50)]
    assert shown(file, Timing(fps=5, span=(0.4, 1.2))) == [10, 15, 20, 25]
    assert shown(file, Timing(span=(0.41, 0.42))) == [11]
    with pytest.raises(BrokenVideo, match=r"segment of 2.5 to 3 s begins after its end, 2\.\d s"):
        shown(file, Timing(span=(2.5, 3.0)))


def test_a_file_of_the_segment_alone_is_taken_whole(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4", *FILES["mpeg4.mp4"], [40 * n for n in range(FRAMES)])
    assert shown(file, Timing(span=(20.0, 22.0), may_be_cut=True)) == [*range(FRAMES)]
    assert shown(file, Timing(span=(0.0, 0.4), may_be_cut=True)) == [*range(10)]


def test_verify_says_that_a_segment_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", *FILES["mpeg4.mp4"], [40 * n for n in range(FRAMES)])
    spans = np.array([[0.0, 1.0], [3.0, 4.0], [np.nan, np.nan]])
    files = VideoFiles(tmp_path, ("a.mp4",) * 3, np.zeros(3, np.int64), spans=spans)
    assert files.check(0, tmp_path / "a.mp4") == files.check(2, tmp_path / "a.mp4") == FRAMES
    with pytest.raises(BrokenVideo, match="begins after its end"):
        files.check(1, tmp_path / "a.mp4")
