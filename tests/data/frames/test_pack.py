"""A pack stands for the folder of videos that it was made from."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from stdcf.data.frames import pack
from stdcf.data.sets import weizmann
from stdcf.data.video.encode import Codec, write_video
from stdcf.errors import UserError
from suites.data import app

SIZE = (12, 16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "weizmann"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for person in ("daria", "eli", "ira", "shahar"):
        for action in ("bend", "run"):
            frames = rng.integers(0, 256, (20, 24, 32, 3), np.uint8)
            write_video(folder / f"{person}_{action}.avi", frames, Codec("mpeg4"))
    return folder


@pytest.fixture
def packed(root: Path, tmp_path: Path) -> Path:
    file = tmp_path / "weizmann.npz"
    videos = weizmann.decoded_videos(root, SIZE, cache_dir=tmp_path / "first")
    assert pack.pack_videos("weizmann", videos, SIZE, 1, file) == file.stat().st_size
    return file


def test_the_same_clips_and_manifest(root: Path, packed: Path, tmp_path: Path) -> None:
    ours = weizmann.load(root, size=SIZE, cache_dir=tmp_path / "first")
    theirs = weizmann.load(packed, size=SIZE, cache_dir=tmp_path / "second")
    assert theirs.manifest == ours.manifest
    assert theirs.notes == ours.notes
    for a, b in ((ours.train, theirs.train), (ours.test, theirs.test)):
        indices = list(range(len(a)))
        (clips_a, labels_a, *_), (clips_b, labels_b, *_) = (
            part.__getitems__(indices) for part in (a, b)
        )
        assert np.array_equal(clips_a, clips_b)
        assert np.array_equal(labels_a, labels_b)


def test_no_decoder_is_needed(packed: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from pathlib import Path\n"
        "from stdcf.data.sets import weizmann\n"
        f"data = weizmann.load({str(packed)!r}, size={SIZE}, cache_dir=Path({str(tmp_path)!r}))\n"
        "print(len(data.train))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0


def test_another_size_or_a_damaged_file_is_one_line(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has size \[12, 16\], and \[6, 8\] is asked for"):
        weizmann.load(packed, size=(6, 8), cache_dir=tmp_path)
    content = bytearray(packed.read_bytes())
    content[len(content) // 2] ^= 1
    packed.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a pack"):
        weizmann.load(packed, size=SIZE, cache_dir=tmp_path / "other")
    packed.write_text("no pack")
    with pytest.raises(UserError, match="cannot be read as a pack"):
        weizmann.load(packed, size=SIZE, cache_dir=tmp_path / "other")


def test_more_than_a_pack_may_hold_is_refused_and_not_left(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "LARGEST_BYTES", 1000)
    videos = weizmann.decoded_videos(root, SIZE, cache_dir=tmp_path / "first")
    with pytest.raises(UserError, match="smaller --size"):
        pack.pack_videos("weizmann", videos, SIZE, 1, tmp_path / "big.npz")
    assert not list(tmp_path.glob("*big*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kth", "x.npz"], "only weizmann"),
        (["weizmann", "x.npz", "--size", "60"], "HEIGHTxWIDTH"),
        (["weizmann", "x.npz", "--root", "/nowhere"], "No folder /nowhere"),
    ],
)
def test_wrong_words_are_one_line(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["pack", *arguments])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
