"""Sound files of unusual make: what a player shows of them."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from stdcf.data.video.decode import count_frames, decode_versioned, decode_video
from stdcf.data.video.seek import read_frames
from stdcf.errors import UserError

HEIGHT, WIDTH = 48, 64


def corners(frames: int = 6) -> np.ndarray:
    """Frames whose four quarters differ: 40, 90 above, 140, 220 below; uint8 [F, H, W, 3]."""
    picture = np.kron([[40, 90], [140, 220]], np.ones((HEIGHT // 2, WIDTH // 2)))
    return np.repeat(np.repeat(picture[None, ..., None], 3, 3), frames, 0).astype(np.uint8)


def write(file: Path, codec: str, pix_fmt: str, full: bool = False, step: int = 1) -> Path:
    with av.open(str(file), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        if full:
            stream.codec_context.color_range = 2
        for number, picture in enumerate(corners()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format=pix_fmt, dst_color_range=2 if full else 1)
            frame.pts = number * step
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file


def quarters(picture_HW: np.ndarray) -> list[int]:
    low, high = (HEIGHT // 4, 3 * HEIGHT // 4), (WIDTH // 4, 3 * WIDTH // 4)
    height, width = picture_HW.shape
    scale = (height / HEIGHT, width / WIDTH)
    return [int(picture_HW[int(r * scale[0]), int(c * scale[1])]) for r in low for c in high]


# a, b, c, d of the track's matrix, and the stored quarters (0 to 3) as they are then shown.
MATRICES = [
    ((1, 0, 0, 1), [0, 1, 2, 3]),
    ((-1, 0, 0, 1), [1, 0, 3, 2]),
    ((1, 0, 0, -1), [2, 3, 0, 1]),
    ((-1, 0, 0, -1), [3, 2, 1, 0]),
    ((0, 1, -1, 0), [2, 0, 3, 1]),
    ((0, -1, 1, 0), [1, 3, 0, 2]),
    ((0, 1, 1, 0), [0, 2, 1, 3]),
    ((0, -1, -1, 0), [3, 1, 2, 0]),
]


@pytest.mark.parametrize(("matrix", "shown"), MATRICES)
def test_all_eight_display_matrices(tmp_path: Path, matrix: tuple, shown: list[int]) -> None:
    file = write(tmp_path / "a.mp4", "libx264", "yuv420p")
    content = bytearray(file.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (number << 16 for number in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    file.write_bytes(content)
    wanted = [(40, 90, 140, 220)[place] for place in shown]
    size = (HEIGHT, WIDTH) if matrix[0] else (WIDTH, HEIGHT)
    rgb_FCHW = decode_video(file, size, channels=3)
    sought, _ = read_frames(file, np.arange)
    assert len(rgb_FCHW) == len(sought) == 6
    for picture_HW in (rgb_FCHW[0, 0], rgb_FCHW[5, 1], sought[0][..., 0], sought[5][..., 2]):
        assert np.abs(np.subtract(quarters(picture_HW), wanted)).max() <= 6


def test_a_matrix_that_turns_by_half_a_quarter_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp4", "libx264", "yuv420p")
    content = bytearray(file.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
    file.write_bytes(content)
    with pytest.raises(UserError, match="turns it by 45°"):
        count_frames(file)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "full", "version"),
    [
        ("a.mp4", "libx264", "yuv420p", False, 1),
        ("a.avi", "mjpeg", "yuvj420p", True, 2),
        ("a.mkv", "ffv1", "yuv420p", True, 2),
        ("a.mkv", "ffv1", "gray", True, 2),
        ("a.mkv", "libx264", "yuv420p10le", False, 1),
        ("a.mkv", "libx264", "yuv420p10le", True, 2),
    ],
)
def test_gray_is_the_same_whatever_range_it_is_stored_in(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, full: bool, version: int
) -> None:
    file = write(tmp_path / name, codec, pix_fmt, full)
    frames_FCHW, made_by = decode_versioned(file, (HEIGHT, WIDTH))
    luma = [16 + value * 219 / 255 for value in (40, 90, 140, 220)]
    assert np.abs(np.subtract(quarters(frames_FCHW[0, 0]), luma)).max() <= 3
    assert made_by == version


def test_an_avi_with_empty_chunks_is_whole_and_one_cut_short_is_not(tmp_path: Path) -> None:
    file = write(tmp_path / "a.avi", "mjpeg", "yuvj420p", True, step=3)
    with av.open(str(file)) as container:
        assert container.streams.video[0].frames > 6
    assert count_frames(file) == 6
    assert len(read_frames(file, np.arange)[0]) == 6
    content = file.read_bytes()
    file.write_bytes(content[: content.rindex(b"00dc", 0, content.index(b"idx1"))])
    with pytest.raises(UserError, match=r"truncated, \d+ of the \d+ frames"):
        count_frames(file)


@pytest.mark.parametrize(
    "tail", [bytes(512), b"\n", b"TAG" + b"title".ljust(125), b"\1\2\0\x10ABCD", b"text at the end"]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.mkv"])
def test_bytes_after_the_end_change_nothing(tmp_path: Path, name: str, tail: bytes) -> None:
    file = write(tmp_path / name, "mpeg4", "yuv420p")
    file.write_bytes(file.read_bytes() + tail)
    assert count_frames(file) == 6


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_a_title_that_is_not_utf8_is_no_matter(tmp_path: Path, name: str) -> None:
    """As cameras and old taggers write it; whatever PyAV makes of such bytes."""
    file = tmp_path / name
    with av.open(str(file), "w") as out:
        out.metadata["title"] = "Title0"
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in corners():
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    stored = file.read_bytes()
    assert b"Title0" in stored
    file.write_bytes(stored.replace(b"Title0", b"Tit\xe9\xff0"))
    assert decode_video(file, (HEIGHT, WIDTH)).shape[0] == count_frames(file) == len(corners())


def test_a_cover_and_a_thumbnail_are_no_film(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        streams = []
        for width, height in ((32, 24), (WIDTH, HEIGHT), (32, 24)):
            stream = out.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for number, stream in enumerate(streams):
            for _ in range((1, 6, 6)[number]):
                picture = np.full((stream.height, stream.width, 3), (10, 200, 90)[number], np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(stream.encode(None))
    frames_FCHW = decode_video(tmp_path / "a.mp4", (HEIGHT, WIDTH), 3)
    assert len(frames_FCHW) == 6
    assert abs(float(frames_FCHW.mean()) - 200) < 6
    assert read_frames(tmp_path / "a.mp4", np.arange)[0][0].shape == (HEIGHT, WIDTH, 3)
