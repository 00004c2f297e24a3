"""Videos that come as a folder of JPEGs, 00001.jpg and on, as Something-Something v1 does."""

from pathlib import Path

import numpy as np

from stdcf.data.video.decode import BrokenVideo
from stdcf.data.video.seek import Choose


def count_frames(folder: Path) -> int:
    """Frames of a folder, by their names alone.

    Raises:
        BrokenVideo: if there is none, or a number is missing between the first and the last.
    """
    if not folder.is_dir():
        raise BrokenVideo(folder, "no such folder")
    numbers = sorted(int(f.stem) for f in folder.glob("*.jpg") if f.stem.isdecimal())
    if not numbers:
        raise BrokenVideo(folder, "it holds no frame 00001.jpg")
    for expected, number in enumerate(numbers, 1):
        if number != expected:
            raise BrokenVideo(folder, f"frame {expected:05d}.jpg is missing")
    return len(numbers)


def read_frames(folder: Path, choose: Choose) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a folder, each read once; see `stdcf.data.video.seek.read_frames`."""
    chosen = choose(count_frames(folder))
    wanted, position = np.unique(chosen, return_inverse=True)
    frames = [_read(folder, index + 1) for index in wanted.tolist()]
    for index, frame in zip(wanted.tolist(), frames, strict=True):
        if frame.shape != frames[0].shape:
            raise BrokenVideo(folder, f"frame {index + 1:05d}.jpg is of another size")
    return frames, position.reshape(chosen.shape)


def check(folder: Path) -> int:
    """Frames of a folder whose every JPEG can be read; BrokenVideo names one that cannot."""
    count = count_frames(folder)
    for number in range(1, count + 1):
        _read(folder, number)
    return count


def _read(folder: Path, number: int) -> np.ndarray:
    from PIL import Image

    file = folder / f"{number:05d}.jpg"
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        # Pillow's own message holds the whole path.
        how = "no JPEG" if "identify" in str(error) else str(error)
        raise BrokenVideo(folder, f"frame {file.name}: {how}") from error
