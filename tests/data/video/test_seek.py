"""Frames found by seeking against those of decoding everything."""

import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from stdcf.data.video.decode import BrokenVideo
from stdcf.data.video.encode import Codec, write_video
from stdcf.data.video.seek import read_frames

FRAMES = 90
H264 = {"preset": "ultrafast", "g": "20", "sc_threshold": "0"}
# Name -> extension, encoder: closed and open groups of pictures, B-frames, none, other codecs.
FILES = {
    "h264": ("mp4", Codec("libx264", H264 | {"bf": "3", "b-pyramid": "normal"})),
    "open-gop": ("mkv", Codec("libx264", H264 | {"bf": "3", "x264-params": "open-gop=1"})),
    "no-b-frames": ("mp4", Codec("libx264", H264 | {"bf": "0"})),
    "h265": ("mp4", Codec("libx265", {"preset": "ultrafast", "x265-params": "log-level=0"})),
    "vp8": ("webm", Codec("libvpx", {"deadline": "realtime", "cpu-used": "8", "g": "20"})),
    "vp9": ("webm", Codec("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "20"})),
    "mpeg4": ("avi", Codec("mpeg4", {"g": "20"})),
    "b-frames-in-avi": ("avi", Codec("mpeg4", {"g": "20", "bf": "2"})),
}


def moving_noise(frames: int = FRAMES, height: int = 64, width: int = 80) -> np.ndarray:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return np.stack([np.roll(picture, shift, axis=1) for shift in range(frames)])


def decode_all(path: Path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, (extension, codec) in FILES.items():
        write_video(folder / f"{name}.{extension}", moving_noise(), codec)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_any_frames_are_those_of_decoding_everything(files, name):
    path = files / f"{name}.{FILES[name][0]}"
    expected = decode_all(path)
    assert len(expected) == FRAMES
    rng = np.random.default_rng(0)
    for wanted in (
        np.arange(FRAMES),
        np.array([FRAMES - 1]),
        np.array([0, 0, 0]),
        *(rng.integers(0, FRAMES, (2, 4)) for _ in range(12)),
    ):
        choose = Mock(return_value=wanted)
        frames, position = read_frames(path, choose)
        choose.assert_called_once_with(FRAMES)
        assert len(frames) == len(np.unique(wanted))  # each once
        assert position.shape == wanted.shape
        for index, place in zip(wanted.flat, position.flat, strict=True):
            assert np.array_equal(frames[place], expected[index])


def test_late_frames_of_ten_seconds_cost_less_than_decoding_from_the_start(tmp_path):
    path = tmp_path / "long.mp4"
    write_video(path, moving_noise(250, 256, 340), Codec("libx264", H264 | {"g": "60"}))
    wanted = np.arange(190, 247, 8)

    def seconds(read):
        times = []
        for _ in range(5):
            started = time.process_time()
            read()
            times.append(time.process_time() - started)
        return min(times)

    # Keyframes at 0, 60, 120 and 180, so a quarter of the frames are decoded.
    assert seconds(lambda: read_frames(path, lambda _: wanted)) < 0.6 * seconds(
        lambda: decode_all_to(path, 247)
    )


def decode_all_to(path: Path, frames: int) -> None:
    import av

    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _, _ in zip(range(frames), container.decode(video=0), strict=False):
            pass


@pytest.mark.parametrize(
    ("clip", "frames"),
    [
        ("R6llTwEh07w.mp4", 303),
        ("SOX5yA1l24A.mp4", 332),
        ("WUzgd7C1pWA.mp4", 327),
        ("basketball.mp4", 333),
        ("RATRACE_wave_f_nm_np1_fr_goo_37.avi", 72),  # of 73 packets the last holds no picture
        ("SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0.avi", 74),
        ("TrumanShow_wave_f_nm_np1_fr_med_26.avi", 48),
        ("hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi", 83),
        ("test.webm", 140),
        ("unordered.mov", 4),
        ("v_SoccerJuggling_g23_c01.avi", 240),
        ("v_SoccerJuggling_g24_c01.avi", 251),
        ("vid.mp4", 49),
        ("video_90.mov", 3),
    ],
)
def test_real_clips_have_all_their_frames(real_data, clip, frames):
    path = real_data(f"clips/{clip}")
    found, _ = read_frames(path, np.arange)
    assert len(found) == frames
    last, _ = read_frames(path, lambda n: np.array([frames // 2, frames - 1]))
    assert np.array_equal(last[0], found[frames // 2])
    assert np.array_equal(last[1], found[-1])


def test_rotation_is_applied(real_data):
    frames, _ = read_frames(real_data("clips/video_90.mov"), np.arange)
    assert frames[0].shape == (568, 320, 3)


def test_the_corrupted_real_clip_is_named(real_data):
    with pytest.raises(BrokenVideo, match=r"corrupted\.mp4: Invalid data") as error:
        read_frames(real_data("clips/corrupted.mp4"), np.arange)
    assert "corrupted" not in error.value.reason


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", ["h264", "vp8", "mpeg4"])
def test_truncated_files_are_named(files, tmp_path, name, share):
    whole = files / f"{name}.{FILES[name][0]}"
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(whole.read_bytes()[: int(len(whole.read_bytes()) * share)])
    with pytest.raises(BrokenVideo, match="cut"):
        read_frames(cut, np.arange)


def damaged(whole: Path, folder: Path, length: int) -> Path:
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + length] = np.random.default_rng(0).bytes(length)
    bad = folder / f"bad{whole.suffix}"
    bad.write_bytes(content)
    return bad


def test_damage_that_ffmpeg_marks_is_noticed_where_a_wanted_frame_builds_on_it(files, tmp_path):
    import av

    bad = damaged(files / "mpeg4.avi", tmp_path, 12)
    with av.open(str(bad)) as container:
        marked = [frame.is_corrupt for frame in container.decode(video=0)].index(True)
    later = marked + 1
    assert later % 20, "a keyframe"
    with pytest.raises(BrokenVideo, match=r"bad\.avi: the frame at .* s is damaged"):
        read_frames(bad, lambda _: np.array([later]))
    # What comes before it is sound.
    assert len(read_frames(bad, lambda _: np.arange(marked))[0]) == marked


def test_damage_that_ffmpeg_refuses_is_noticed(files, tmp_path):
    bad = damaged(files / "no-b-frames.mp4", tmp_path, 2000)
    with pytest.raises(BrokenVideo, match=r"bad\.mp4"):
        read_frames(bad, np.arange)


def test_no_video_and_no_file_are_named(tmp_path):
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(BrokenVideo, match=r"text\.mp4"):
        read_frames(tmp_path / "text.mp4", np.arange)
    with pytest.raises(BrokenVideo, match="no such file"):
        read_frames(tmp_path / "none.mp4", np.arange)
