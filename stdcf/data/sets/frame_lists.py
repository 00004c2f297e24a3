"""PySlowFast's frame lists, a line a frame: `original_vido_id video_id frame_id path labels`."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stdcf.errors import UserError

_COLUMNS = "original_vido_id video_id frame_id path labels"
_HEADER = re.compile(r"original_vid\w*_id\s+video_id\s+frame_id\s+path\s+labels")
_NUMBER = re.compile(r"(\d+)\.\w+$")


@dataclass
class _Frames:
    """Frames of one video: in one folder, numbered one after the other."""

    folder: str
    prefix: str
    first: int
    last: int
    labels: set[str] = field(default_factory=set)


def is_header(line: str) -> bool:
    """Whether a list's first line is that of a frame list."""
    return _HEADER.fullmatch(line.strip()) is not None


def read_frames(
    file: Path, lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """(folder, label, (number of the first frame, how many)) of each video, from the lines below.

    A video's label is that of all its frames; frames without one, `""`, are of any.

    Raises:
        UserError: for a wrong line; for a video of no or of several labels (Charades), in several
            folders, or of which frames are left out.
    """
    videos: dict[str, _Frames] = {}
    for number, line in lines:
        cells = line.split()
        at = _NUMBER.search(cells[3]) if len(cells) == 5 else None
        if at is None:
            raise UserError(
                f"{file}, line {number}: expected {_COLUMNS}, not {line.strip()[:60]!r}."
            )
        folder, _, name = cells[3].rpartition("/")
        prefix, index = name[: at.start(1) - len(folder) - bool(folder)], int(at[1])
        video = videos.get(cells[0])
        if video is None:
            video = videos[cells[0]] = _Frames(folder, prefix, index, index)
        elif (folder, prefix, index) != (video.folder, video.prefix, video.last + 1):
            raise UserError(
                f"{file}, line {number}: {cells[3]} does not follow frame {video.last} of "
                f"{cells[0]}: list each frame of a video's folder, in turn."
            )
        else:
            video.last = index
        if labels := cells[4].replace('"', ""):
            video.labels.add(labels)
    for key, video in videos.items():
        named = sorted(set(",".join(video.labels).split(",")) - {""})
        if len(named) != 1:
            raise UserError(_not_one(file, key, named))
        yield video.folder, named[0], (video.first, video.last - video.first + 1)


def _not_one(file: Path, video: str, labels: list[str]) -> str:
    if labels:
        return (
            f"{file}: {video} has the labels {', '.join(labels[:5])}"
            f"{', …' if len(labels) > 5 else ''}, as Charades' have several, but a video here is "
            "of one class: leave one label, or take the video out."
        )
    return (
        f"{file}: {video} has no label. Those of Something-Something stand in its JSON files, "
        "which --dataset something_v2 reads beside the same frames; AVA's are of boxes, which no "
        "data set here reads."
    )
