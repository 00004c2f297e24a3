"""Copies of one video under two labels or in two parts of a set whose videos are not all read."""

import filecmp
from collections.abc import Mapping
from pathlib import Path

from stdcf.data.clips.streamed import VideoFiles

# Files of one size that are looked into when a set is opened. A small set has a few; a large one,
# where most of one size are other videos, has thousands.
_MOST = 1000


def equal_notes(parts: Mapping[str, VideoFiles]) -> list[str]:
    """A note of equal files under two labels or in two parts."""
    of_size: dict[int, list[tuple[Path, str, tuple[str, int]]]] = {}
    for part, videos in parts.items():
        if videos.are_folders or videos.spans is not None:
            return []
        for name, label in zip(videos.names, videos.labels.tolist(), strict=True):
            file = videos.root / name
            of_size.setdefault(file.stat().st_size, []).append((file, name, (part, label)))
    groups = [files for files in of_size.values() if len({place for *_, place in files}) > 1]
    if sum(map(len, groups)) > _MOST:
        return []
    pairs = [
        f"{name} = {other_name}"
        for files in groups
        for number, (file, name, place) in enumerate(files)
        for other, other_name, other_place in files[number + 1 :]
        if place != other_place and filecmp.cmp(file, other, shallow=False)
    ]
    if not pairs:
        return []
    more = f" and {len(pairs) - 2} more" if len(pairs) > 2 else ""
    return [f"Equal files under two labels or in two parts: {', '.join(pairs[:2])}{more}."]
