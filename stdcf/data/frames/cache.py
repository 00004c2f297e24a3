"""Decoded frames on disk: one memory-mapped uint8 array a video, keyed by the file's content."""

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stdcf.cache_folder import cache_folder
from stdcf.data.frames.fingerprint import Fingerprints
from stdcf.data.video.decode import (
    CORRECTED_VERSION,
    DECODER_VERSION,
    decode_versioned,
)
from stdcf.errors import UserError
from stdcf.whole_file import whole_file

Progress = Callable[[int, int, str], None]  # files done, files in all, the file just done

# Follows the array, where np.load does not look.
_FOOTER = struct.Struct("<8sI")
_MAGIC = b"stdcfcrc"


@dataclass(frozen=True)
class CachedVideo:
    """One decoded video.

    Attributes:
        sha256: of its source, in hex.
        version: of the decoder that first gave these bytes.
    """

    frames_file: Path
    sha256: str
    num_frames: int
    version: int = DECODER_VERSION


def default_cache_dir() -> Path:
    """`frames` under $STDCF_CACHE, or under ~/.cache/stdcf."""
    return cache_folder() / "frames"


def cache_videos(
    files: Sequence[Path],
    size: tuple[int, int],
    channels: int = 1,
    *,
    cache_dir: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[CachedVideo]:
    """Decode what is not in the cache yet; every entry is checked against its checksum.

    size: (height, width). workers: decoding threads (default: one a CPU core, at most 8); they
    change no byte. progress is called from this thread. Raises UserError for a file that cannot be
    decoded and for a cache folder that cannot be written.
    """
    folder = cache_dir or default_cache_dir()
    fingerprints = Fingerprints(folder / "fingerprints.json")

    def one(file: Path) -> CachedVideo:
        try:
            sha256 = fingerprints.sha256(file)
        except OSError as error:
            raise UserError(f"Cannot read {file}: {error.strerror}.") from error
        return store_frames(
            folder, sha256, size, channels, lambda: decode_versioned(file, size, channels)
        )

    workers = workers or min(8, os.cpu_count() or 1)
    videos = []
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        pending = [pool.submit(one, file) for file in files]
        try:
            for file, future in zip(files, pending, strict=True):
                videos.append(future.result())
                if progress:
                    progress(len(videos), len(files), file.name)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            fingerprints.save()
    return videos


def store_frames(
    folder: Path,
    sha256: str,
    size: tuple[int, int],
    channels: int,
    make: Callable[[], tuple[np.ndarray, int]],
) -> CachedVideo:
    """A video's entry in a cache folder; where there is none, `make` gives its frames.

    sha256: of the video file, in hex. size: (height, width). make: uint8 [F, C, H, W], and
    the version of the decoder that first gave them.
    """

    def entry(version: int) -> Path:
        # Entries without "r2" may be of files that version 1 of the decoder showed wrongly.
        name = f"{sha256}-{size[0]}x{size[1]}x{channels}-v{version}r2.npy"
        return folder / sha256[:2] / name

    for version in (DECODER_VERSION, CORRECTED_VERSION):
        num_frames = _checked_length(entry(version), size, channels)
        if num_frames is not None:
            return CachedVideo(entry(version), sha256, num_frames, version)
    frames_FCHW, version = make()
    _write(entry(version), frames_FCHW)
    return CachedVideo(entry(version), sha256, len(frames_FCHW), version)


def read_frames(file: Path) -> np.ndarray:
    """A cache entry's frames, memory-mapped: uint8 [F, C, H, W]."""
    frames: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    return frames


def _checked_length(file: Path, size: tuple[int, int], channels: int) -> int | None:
    """Frames of a whole and undamaged entry; None where it must be built."""
    try:
        content = np.memmap(file, np.uint8, "r")
        if len(content) <= _FOOTER.size:
            return None
        magic, checksum = _FOOTER.unpack(content[-_FOOTER.size :].tobytes())
        # All of it at each opening, a fraction of a second a gigabyte: a flipped bit never trains.
        if magic != _MAGIC or zlib.crc32(content[: -_FOOTER.size].data) != checksum:
            return None
        frames = read_frames(file)
    except (OSError, ValueError):
        return None
    if frames.dtype != np.uint8 or frames.shape[1:] != (channels, *size):
        return None
    return len(frames)


def _write(target: Path, frames_FCHW: np.ndarray) -> None:
    """Whole or not at all: several processes may build the same entry, and each may be killed."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(frames_FCHW), allow_pickle=False)
            file.flush()
            file.seek(0)
            checksum = zlib.crc32(file.read())
            file.write(_FOOTER.pack(_MAGIC, checksum))
    except OSError as error:
        raise UserError(
            f"Cannot write the frame cache {target.parent.parent}: {error.strerror}. "
            "Set STDCF_CACHE to a folder with room that you can write."
        ) from error
