"""Parts of films, each a sample of its own: by times in seconds, or by frames of a folder."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stdcf.data.clips.streamed import VideoFiles
from stdcf.data.sets.annotations import check_labels
from stdcf.data.sets.tree import check_films
from stdcf.data.video.frame_folder import RELEASE, Numbering
from stdcf.data.video.seek import frame_seconds
from stdcf.errors import UserError

_SLACK_SECONDS = 1.0


class Segment(NamedTuple):
    """A sample of a set.

    Attributes:
        video: its file or folder, from the set's folder (posix).
        span: (start, end) in seconds of the film; None: all of it.
        frames: (offset, number) of a folder's frames; None: all of them.
    """

    video: str
    label: str
    span: tuple[float, float] | None = None
    frames: tuple[int, int] | None = None


def check_segments(
    root: Path, parts: Mapping[str, Sequence[Segment]], *, may_be_cut: bool = False
) -> None:
    """A segment has one label and is in one part, and so has and is a film without segments.

    may_be_cut: a film not longer than its segments is one of them, and cannot have two labels or be
    in two parts.

    Raises:
        UserError: naming the first one that has or is.
    """
    check_labels(
        root, {part: [(_key(s), s.label) for s in of_part] for part, of_part in parts.items()}
    )
    spans: dict[str, set[tuple[float, float]]] = {}
    for segment in (s for of_part in parts.values() for s in of_part):
        if segment.span is not None:
            spans.setdefault(segment.video, set()).add(segment.span)
    films = {
        video
        for video, found in spans.items()
        if not may_be_cut or (len(found) > 1 and _holds(root / video, found))
    }
    check_films(
        root,
        {
            part: [(s.video, s.label) for s in of_part if s.frames is None and s.video not in films]
            for part, of_part in parts.items()
        },
    )


def _key(segment: Segment) -> str:
    place = segment.span or segment.frames
    return segment.video if place is None else f"{segment.video} from {place[0]:g} to {place[1]:g}"


def _holds(file: Path, spans: Iterable[tuple[float, float]]) -> bool:
    try:
        seconds_F = frame_seconds(file)
    except UserError:
        return False
    longest = max(end - start for start, end in spans)
    return bool(seconds_F[-1] - seconds_F[0] > longest + _SLACK_SECONDS)


def segment_files(
    root: Path,
    segments: Iterable[Segment],
    number: Mapping[str, int],
    *,
    are_folders: bool = False,
    numbering: Numbering = RELEASE,
    may_be_cut: bool = False,
) -> VideoFiles:
    """In the order of their names and places, whatever the order of the list.

    number: of each label.
    """
    ordered = sorted(set(segments), key=lambda s: (s.video, s.span or (0, 0), s.frames or (0, 0)))
    spans, frames = [s.span for s in ordered], [s.frames for s in ordered]
    return VideoFiles(
        root,
        tuple(s.video for s in ordered),
        np.array([number[s.label] for s in ordered], np.int64),
        are_folders=are_folders,
        numbering=numbering,
        parts=np.array(frames, np.int64) if frames and None not in frames else None,
        spans=np.array([span or (np.nan, np.nan) for span in spans]) if any(spans) else None,
        may_be_cut=may_be_cut,
    )


def segment_notes(parts: Mapping[str, Sequence[Segment]]) -> list[str]:
    """What to say of segments of films: how many, and whether a film is in both parts."""
    cut = [segment for of_part in parts.values() for segment in of_part if segment.span]
    if not cut:
        return []
    told = [
        f"{len(cut)} segments are cut from films by their times, where a film is longer "
        f"({cut[0].video}{', …' if len(cut) > 1 else ''})."
    ]
    both = set.intersection(*({s.video for s in of_part if s.span} for of_part in parts.values()))
    if both:
        told.append(
            f"Segments of {len(both)} films are in training and in testing ({min(both)}"
            f"{', …' if len(both) > 1 else ''})."
        )
    return told
