import numpy as np
import pytest

from stdcf.data.video import seek
from stdcf.data.video.decode import count_frames, decode_video
from stdcf.data.video.resize import resize_area
from stdcf.errors import UserError

SIZE = (12, 16)


def test_gray_is_the_stored_luma_in_decoded_order(tmp_path, make_video):
    gray_FHW = make_video(tmp_path / "a.avi", 37, codec="ffv1")  # lossless, 0 to 255
    frames_FCHW = decode_video(tmp_path / "a.avi", SIZE)
    luma_FHW = np.rint(16 + gray_FHW.astype(float) * 219 / 255).astype(np.uint8)
    assert np.array_equal(frames_FCHW, resize_area(luma_FHW[:, None], SIZE))


def test_colour_has_three_channels(tmp_path, make_video):
    gray_FHW = make_video(tmp_path / "a.avi", 3, codec="ffv1")
    frames_FCHW = decode_video(tmp_path / "a.avi", (48, 64), channels=3)
    assert frames_FCHW.shape == (3, 3, 48, 64)
    assert np.array_equal(frames_FCHW[:, 1], gray_FHW)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.7, 0.9])
def test_truncated_avi_is_refused_with_its_name(tmp_path, make_video, share):
    make_video(tmp_path / "whole.avi", 60)
    content = (tmp_path / "whole.avi").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"cut\.avi"):
        decode_video(cut, SIZE)


def test_avi_cut_between_two_frames_is_refused(tmp_path, make_video):
    make_video(tmp_path / "whole.avi", 60)
    content = (tmp_path / "whole.avi").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(content[: content.index(b"00dc", len(content) // 2)])
    with pytest.raises(UserError, match=r"truncated, \d+ of the 60 frames"):
        decode_video(cut, SIZE)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_truncation_is_noticed_in_other_containers(tmp_path, make_video, suffix):
    whole = tmp_path / f"whole.{suffix}"
    make_video(whole, 60)
    assert count_frames(whole) == 60
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"truncated, \d+ of the \d+ bytes"):
        count_frames(cut)


def test_damage_inside_a_frame_is_refused(tmp_path, make_video):
    file = tmp_path / "a.avi"
    make_video(file, 60)
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.avi"):
        decode_video(file, SIZE)


@pytest.mark.parametrize("content", [b"", b"not a video at all", bytes(5000)])
def test_no_video_is_refused(tmp_path, content):
    (tmp_path / "a.avi").write_bytes(content)
    with pytest.raises(UserError, match=r"Cannot decode .*a\.avi"):
        decode_video(tmp_path / "a.avi", SIZE)


def test_missing_file_and_wrong_channels(tmp_path, make_video):
    with pytest.raises(UserError, match="no such file"):
        decode_video(tmp_path / "a.avi", SIZE)
    make_video(tmp_path / "a.avi", 2)
    with pytest.raises(UserError, match="channels=2"):
        decode_video(tmp_path / "a.avi", SIZE, channels=2)


def test_the_corrupted_real_clip_is_refused(real_data):
    with pytest.raises(UserError, match=r"corrupted\.mp4: Invalid data"):
        decode_video(real_data("clips/corrupted.mp4"), SIZE)


@pytest.mark.parametrize(
    ("clip", "frames"),
    [
        ("test.webm", 140),  # its header says 0
        ("vid.mp4", 49),  # a WebM under another name
        ("TrumanShow_wave_f_nm_np1_fr_med_26.avi", 48),  # 49 packets, the last without a picture
        ("v_SoccerJuggling_g23_c01.avi", 240),
        ("unordered.mov", 4),
    ],
)
def test_real_clips_keep_every_frame(real_data, clip, frames):
    assert decode_video(real_data(f"clips/{clip}"), SIZE).shape == (frames, 1, *SIZE)


def test_rotation_metadata_is_applied(real_data):
    import av

    file = real_data("clips/video_90.mov")
    with av.open(str(file)) as container:
        stored_HW = next(container.decode(video=0)).to_ndarray(format="yuv420p")[:320, :568]
    turned = decode_video(file, (568, 320))[0, 0]
    assert np.array_equal(turned, np.rot90(stored_HW, -1))


def test_a_name_with_line_breaks_and_commands_to_the_terminal_stays_one_line(tmp_path):
    file = tmp_path / 'it\'s a "name"\n\x1b[31m ü.avi'
    file.write_bytes(b"no video")
    with pytest.raises(UserError) as raised:
        decode_video(file, (8, 8))
    assert 'it\'s a "name"\\n\\x1b[31m ü.avi' in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_codec_that_nothing_decodes_is_said(tmp_path, make_video):
    file = tmp_path / "a.avi"
    make_video(file)
    file.write_bytes(file.read_bytes().replace(b"FMP4", b"zzzz").replace(b"fmp4", b"zzzz"))
    with pytest.raises(UserError, match="nothing here decodes its codec"):
        decode_video(file, (8, 8))
    with pytest.raises(UserError, match="nothing here decodes its codec"):
        seek.read_frames(file, lambda count: np.arange(1))
