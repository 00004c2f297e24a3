"""Decoded videos in one file, for a machine without a decoder: frames, names and content hashes."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stdcf.data.frames.cache import CachedVideo, default_cache_dir, read_frames, store_frames
from stdcf.data.video.decode import DECODER_VERSION
from stdcf.errors import UserError
from stdcf.whole_file import whole_file

LARGEST_BYTES = 40 * 10**6
_FORMAT = 1
_INDEX = "index"


def pack_videos(
    dataset: str,
    videos: Sequence[tuple[str, CachedVideo]],
    size: tuple[int, int],
    channels: int,
    file: Path,
) -> int:
    """Writes named videos into an .npz without pickles; returns its size in bytes.

    size: (height, width). Raises UserError for another name than *.npz, a folder that cannot be
    written, or more than `LARGEST_BYTES`.
    """
    if file.suffix != ".npz":
        raise UserError(f"{file.name} must end in .npz")
    index = {
        "format": _FORMAT,
        "dataset": dataset,
        "decoder": DECODER_VERSION,
        "size": list(size),
        "channels": channels,
        "videos": [[name, video.sha256, video.version] for name, video in videos],
    }
    arrays = {str(i): read_frames(video.frames_file) for i, (_, video) in enumerate(videos)}
    text = np.frombuffer(json.dumps(index).encode(), np.uint8)
    try:
        with whole_file(file) as out:
            np.savez_compressed(out, allow_pickle=False, **{_INDEX: text}, **arrays)
            n_bytes = out.tell()
            if n_bytes > LARGEST_BYTES:
                raise UserError(
                    f"{dataset} at {size[0]}x{size[1]} takes {n_bytes / 1e6:.0f} MB and a pack "
                    f"{LARGEST_BYTES / 1e6:.0f} at most; give a smaller --size"
                )
    except OSError as error:
        raise UserError(f"Cannot write {file}: {error.strerror}.") from error
    return n_bytes


def unpack_videos(
    dataset: str,
    file: Path,
    size: tuple[int, int],
    channels: int,
    cache_dir: Path | None = None,
) -> list[tuple[str, CachedVideo]]:
    """Names and cache entries of a pack's videos, as if they had been decoded here.

    Raises:
        UserError: if it is not a pack, is damaged, or is of another data set, size or decoder.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            index = json.loads(content[_INDEX].tobytes())
            _check(index, dataset, size, channels, file)
            return list(_stored(content, index, size, channels, cache_dir or default_cache_dir()))
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(
            f"{file} cannot be read as a pack of videos ({type(error).__name__}); make it again: "
            f"python -m suites.data pack {dataset} --size {size[0]}x{size[1]} FILE"
        ) from error


def _stored(
    content: Any, index: dict[str, Any], size: tuple[int, int], channels: int, folder: Path
) -> Iterator[tuple[str, CachedVideo]]:
    for number, (name, sha256, *versions) in enumerate(index["videos"]):
        if not (isinstance(name, str) and len(sha256) == 64 and int(sha256, 16) >= 0):
            raise ValueError("no name or no hash")
        # An array is read when it is asked for, so what is stored already costs nothing.
        version = int(versions[0]) if versions else DECODER_VERSION
        make = partial(_frames, content, number, version)
        yield name, store_frames(folder, sha256, size, channels, make)


def _frames(content: Any, number: int, version: int) -> tuple[np.ndarray, int]:
    return content[str(number)], version


def _check(
    index: dict[str, Any], dataset: str, size: tuple[int, int], channels: int, file: Path
) -> None:
    wanted = {
        "format": _FORMAT,
        "dataset": dataset,
        "decoder": DECODER_VERSION,
        "size": list(size),
        "channels": channels,
    }
    for name, value in wanted.items():
        if index[name] != value:
            raise UserError(
                f"{file} has {name} {index[name]}, and {value} is asked for; make it again with "
                f"python -m suites.data pack {dataset} --size {size[0]}x{size[1]} FILE"
            )
