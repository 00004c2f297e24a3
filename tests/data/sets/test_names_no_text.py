"""Names of files that are not text: as unzip leaves them of archives from another code page."""

import os
import shutil
from pathlib import Path

from typer.testing import CliRunner

from stdcf.data.clips.loader import batches
from stdcf.data.sets import kinetics, video_folder
from suites.data import app

NAME = os.fsdecode("视频".encode("gbk"))
ESCAPED = "\\udcca\\udcd3Ƶ"


def fill(root: Path, make_video, names: list[str]) -> None:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        made = root.parent / f"{seed}.avi"
        make_video(made, 16, seed=seed)
        shutil.move(made, root / name)


def test_they_are_loaded_and_printed_escaped(tmp_path: Path, make_video) -> None:
    root = tmp_path / "v"
    fill(root, make_video, [f"{label}/{NAME}{n}.avi" for label in ("a", NAME) for n in range(2)])
    data = video_folder.load(root, size=(12, 16), clip_frames=8, cache_dir=tmp_path / "c")
    assert data.classes == ("a", NAME)
    assert all(NAME in name for name in data.train.video_names)
    short = video_folder.load(root, size=(12, 16), clip_frames=20, cache_dir=tmp_path / "c")
    assert any(ESCAPED in note for note in short.notes)
    (root / "a" / f"{NAME}.avi").write_bytes(b"no video")
    (root / "a" / f"{NAME}.xyz").touch()
    result = CliRunner().invoke(app, ["verify", "video_folder", "--root", str(root)])
    assert result.exit_code == 1
    assert f"a/{ESCAPED}.avi: " in result.output
    assert f"a/{ESCAPED}.xyz: not read" in result.output


def test_streamed_ones_too(tmp_path: Path, make_video) -> None:
    root = tmp_path / "v"
    names = [f"{part}/{label}/{NAME}.avi" for part in ("train", "val") for label in "ab"]
    fill(root, make_video, names)
    (root / names[0]).write_bytes(b"no video")
    data = kinetics.load(root, crop=32, short_side=[32, 40], test_crop=32, test_short_side=32)
    assert len(data.manifest) == 64
    named: dict[str, str] = {}
    list(batches(data.train, 2, on_broken=named.__setitem__))
    assert list(named) == [f"train/a/{ESCAPED}.avi"]
