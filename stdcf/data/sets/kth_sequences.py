"""KTH's 00sequences.txt: which frames of which video are annotated, and the clips cut from them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from stdcf.data.clips.clips import ClipPlan
from stdcf.data.sets.places import the_one
from stdcf.data.sets.tree import Tree, check_films
from stdcf.errors import UserError

ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
# As 00sequences.txt states them; the paper trains on the first and reports on the second.
TRAIN_PERSONS = (11, 12, 13, 14, 15, 16, 17, 18)
VALIDATION_PERSONS = (19, 20, 21, 23, 24, 25, 1, 4)
TEST_PERSONS = (22, 2, 3, 5, 6, 7, 8, 9, 10)

Counting = Literal["subsequence", "video", "joined"]

_LINE = re.compile(r"(person(\d\d)_([a-z]+)_d(\d))\s+(?:frames\s+(.+)|\*missing\*)")
_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")


@dataclass(frozen=True)
class KthVideo:
    """One line of 00sequences.txt. ranges: first and last frame, from 1 and inclusive."""

    name: str
    person: int
    action: str
    scenario: int
    ranges: tuple[tuple[int, int], ...]

    @property
    def file(self) -> str:
        """Its path in the official layout."""
        return f"{self.action}/{self.name}_uncomp.avi"


def parse_sequences(text: str) -> tuple[KthVideo, ...]:
    """The videos of 00sequences.txt in its order, without the one marked *missing*."""
    videos = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not re.match(r"person\d\d_", stripped):
            continue
        match = _LINE.fullmatch(stripped)
        if not match or match[3] not in ACTIONS:
            raise UserError(f"00sequences.txt, line {number}: cannot read {stripped!r}.")
        if match[5] is None:
            continue
        ranges = []
        for part in (part.strip() for part in match[5].split(",")):
            if not part:
                continue
            limits = _RANGE.fullmatch(part)
            if not limits or not 1 <= int(limits[1]) <= int(limits[2]):
                raise UserError(
                    f"00sequences.txt, line {number}: {part!r} is not a range of frames, as 1-95."
                )
            ranges.append((int(limits[1]), int(limits[2])))
        videos.append(KthVideo(match[1], int(match[2]), match[3], int(match[4]), tuple(ranges)))
    return tuple(videos)


def locate(tree: Tree, videos: Sequence[KthVideo]) -> dict[str, str]:
    """Name -> path from the folder (posix) of the videos that are there.

    Each in its place of the official layout or, with any ending of a video, anywhere below.

    Raises:
        UserError: for one file under two names.
    """
    official = {video.file for video in videos}
    by_stem: dict[str, list[str]] = {}
    for path in sorted(tree.videos, key=lambda path: path not in official):
        stem = PurePosixPath(path).stem.lower().removesuffix("_uncomp")
        if by_stem.get(stem, [""])[0] not in official:
            by_stem.setdefault(stem, []).append(path)
    there = {
        video.name: the_one(tree.root, video.name, by_stem[video.name])
        for video in videos
        if video.name in by_stem
    }
    check_films(tree.root, {"KTH": [(path, name) for name, path in there.items()]})
    return there


def read_sequences(folder: Path) -> tuple[KthVideo, ...]:
    """`parse_sequences` of a data set's folder."""
    file = folder / "00sequences.txt"
    try:
        text = file.read_text(encoding="latin-1")
    except FileNotFoundError:
        raise UserError(
            f"{folder} has no 00sequences.txt: get it with "
            f"python -m suites.data download kth --root {folder}"
        ) from None
    sequences = parse_sequences(text)
    if not sequences:
        raise UserError(f"{file} lists no video: download it again.")
    return sequences


def plan_clips(
    sequences: Sequence[KthVideo],
    persons: Collection[int],
    counting: Counting = "subsequence",
    clip_frames: int = 16,
) -> ClipPlan:
    """Clips of some persons, without overlap within what they are cut from.

    counting: "subsequence" cuts each annotated range by itself; "video" joins a video's ranges;
    "joined" joins those of all the persons, ordered by action, person and scenario, and cuts across
    videos: the counting that comes closest to the paper's 4667 and 4551 clips. A rest shorter than
    a clip is left out, but a range that is itself shorter is padded with its last frame.
    Video indices count in `sequences`.
    """
    if counting not in ("subsequence", "video", "joined"):
        raise UserError(f"counting={counting!r}: choose subsequence, video or joined.")
    chosen = sorted(
        (index for index, video in enumerate(sequences) if video.person in persons),
        key=lambda index: (
            ACTIONS.index(sequences[index].action),
            sequences[index].person,
            sequences[index].scenario,
        ),
    )
    # Groups of (video, frame) pairs [F, 2], each cut by itself.
    by_video = [
        [_pairs(index, first, last) for first, last in sequences[index].ranges] for index in chosen
    ]
    groups: list[np.ndarray]
    if counting == "subsequence":
        groups = [pairs for ranges in by_video for pairs in ranges]
    elif counting == "video":
        groups = [np.concatenate(ranges) for ranges in by_video if ranges]
    else:
        everything = [pairs for ranges in by_video for pairs in ranges]
        groups = [np.concatenate(everything)] if everything else []
    clips = [_cut(group, clip_frames) for group in groups]
    pairs_NT2 = np.concatenate(clips) if clips else np.empty((0, clip_frames, 2), np.int32)
    return ClipPlan(pairs_NT2[..., 0], pairs_NT2[..., 1])


def _pairs(video: int, first: int, last: int) -> np.ndarray:
    frames = np.arange(first - 1, last, dtype=np.int32)
    return np.stack([np.full_like(frames, video), frames], axis=1)


def _cut(pairs_F2: np.ndarray, clip_frames: int) -> np.ndarray:
    """[F, 2] -> [N, T, 2]."""
    if len(pairs_F2) < clip_frames:
        pairs_F2 = pairs_F2[np.minimum(np.arange(clip_frames), len(pairs_F2) - 1)]
    whole = len(pairs_F2) // clip_frames * clip_frames
    return pairs_F2[:whole].reshape(-1, clip_frames, 2)
