"""Frames in folders, however they are numbered."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stdcf.data.sets import something
from stdcf.data.tools.verify import verify
from stdcf.data.video import frame_folder
from stdcf.data.video.decode import BrokenVideo
from stdcf.data.video.frame_folder import RELEASE, Numbering, find_numbering

NAMES = {
    "{:05d}.jpg": 1,
    "{:06d}.jpg": 1,
    "{:04d}.jpg": 0,
    "img_{:05d}.jpg": 1,
    "frame{:03d}.png": 7,
    "{:05d}.JPG": 1,
    "{}.jpeg": 0,
    "v1.2-{}.jpg": 1,
}


def write(folder: Path, name: str, first: int, frames: int = 12) -> Path:
    folder.mkdir(parents=True)
    for index in range(frames):
        picture = np.full((16, 20, 3), 20 * index, np.uint8)
        file = folder / name.format(first + index)
        Image.fromarray(picture).save(file, "PNG" if name.endswith("png") else "JPEG")
    return folder


def levels(folder: Path, numbering: Numbering) -> list[int]:
    frames, position = frame_folder.read_frames(folder, np.arange, numbering=numbering)
    return [round(frames[place].mean() / 20) for place in position]


@pytest.mark.parametrize(("name", "first"), NAMES.items())
def test_each_numbering_is_read_in_its_order(tmp_path: Path, name: str, first: int) -> None:
    folder = write(tmp_path / "1", name, first)
    write(tmp_path / "2", name, first, 9)
    numbering = find_numbering([folder, tmp_path / "2"])
    assert numbering.name(0) == name.format(first)
    assert levels(folder, numbering) == list(range(12))
    assert frame_folder.check(tmp_path / "2", numbering) == 9


def test_flow_beside_the_pictures_is_no_frame(tmp_path: Path) -> None:
    folder = write(tmp_path / "1", "img_{:05d}.jpg", 1)
    for axis in "xy":
        for number in range(1, 12):
            (folder / f"flow_{axis}_{number:05d}.jpg").touch()
    assert find_numbering([folder]).prefix == "img_"
    for number in range(12):
        (folder / f"mask_{number:05d}.jpg").touch()
    with pytest.raises(BrokenVideo, match="two series of frames"):
        find_numbering([folder])


def test_most_folders_decide_and_the_others_are_said_truly(tmp_path: Path) -> None:
    folders = [write(tmp_path / str(n), "{:05d}.jpg", 1, 4) for n in range(3)]
    (folders[0] / "00001.jpg").unlink()
    odd = write(tmp_path / "odd", "img_{:05d}.jpg", 0, 4)
    numbering = find_numbering([*folders, odd])
    assert numbering == RELEASE
    for folder, reason in ((folders[0], "frame 00001.jpg is missing"),
                           (odd, "no frame 00001.jpg: it holds img_00000.jpg")):  # fmt: skip
        with pytest.raises(BrokenVideo) as raised:
            frame_folder.count_frames(folder, numbering)
        assert raised.value.reason == reason


def test_a_set_of_other_names_is_read_noted_and_part_of_its_manifest(tmp_path: Path) -> None:
    manifests = set()
    for name, first in (("{:05d}.jpg", 1), ("img_{:05d}.jpg", 0)):
        root = tmp_path / str(first)
        for video in range(1, 5):
            write(root / "20bn-jester-v1" / str(video), name, first)
        (root / "jester-v1-train.csv").write_text("1;a\n2;b\n")
        (root / "jester-v1-validation.csv").write_text("3;a\n4;b\n")
        assert verify("something_v1", root).sound == 4
        data = something.load(1, root, crop=14, short_side=[16, 16], test_crop=14,
                              test_short_side=16)  # fmt: skip
        clip_CTHW = data.test[0][0]
        # The middles of 8 segments of 1.5 frames.
        expected = [20 * int(0.75 + 1.5 * i) for i in range(8)]
        assert [round(float(x.float().mean()) / 20) * 20 for x in clip_CTHW[0]] == expected
        manifests.add(data.manifest)
    assert data.notes[0] == "The frames are named img_00000.jpg, img_00001.jpg and on."
    assert len(manifests) == 2
