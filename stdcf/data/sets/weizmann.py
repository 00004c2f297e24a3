"""Weizmann: ten actions by nine persons, tested on persons left out of training."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from stdcf.data.clips.splits import (
    LabelledVideo,
    VideoData,
    check_options,
    make_data,
    padding_notes,
    sliding_windows,
)
from stdcf.data.frames.cache import CachedVideo, Progress, cache_videos
from stdcf.data.frames.pack import unpack_videos
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.tree import LeftOut, check_films, notes, search, summary
from stdcf.errors import UserError

ACTIONS = ("bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2")
PERSONS = ("daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar")
TEST_PERSONS = ("eli", "ira", "shahar")
# Each leaves one person out: load(root, test_persons="fold-eli").
FOLDS = {f"fold-{person}": (person,) for person in PERSONS}

# lena_run.avi, and the release's numbered repeats: lena_run1.avi.
_NAME = re.compile(rf"({'|'.join(PERSONS)})_({'|'.join(ACTIONS)})\d?\.\w+", re.IGNORECASE)


def load(
    root: str | Path | None = None,
    *,
    size: tuple[int, int] = (60, 80),
    clip_frames: int = 16,
    channels: int = 1,
    test_persons: str | Sequence[str] = TEST_PERSONS,
    without: str | Sequence[str] = (),
    train_step: int = 4,
    test_step: int = 16,
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """Whole frames scaled to `size` (height, width), clips every few frames.

    test_persons: names, a comma-separated string of them, or a fold ("fold-eli"). Training takes a
    clip every train_step frames; testing one every test_step and the last of each video. without:
    persons who take no part. root: the
    folder of videos, or a file of `suites.data pack weizmann`, which needs no decoder.
    """
    check_options(size, clip_frames, train_step, test_step)
    left_out = parse_persons(test_persons)
    absent = parse_persons(without) if without else ()
    if both := set(left_out) & set(absent):
        raise UserError(f"Weizmann: {', '.join(sorted(both))} cannot be tested and left out too.")
    told: list[str] = []
    if root is not None and Path(root).is_file():
        source, named = Path(root), unpack_videos("weizmann", Path(root), size, channels, cache_dir)
    else:
        source = data_root("weizmann", root, "Weizmann's <person>_<action>.avi")
        told = notes(find_videos(source)[1])
        named = decoded_videos(
            source, size, channels, workers=workers, cache_dir=cache_dir, progress=progress
        )
    found = [(*_person_and_action(name), name, video) for name, video in named]
    videos: dict[str, list[LabelledVideo]] = {"train": [], "test": []}
    for person, action, name, frames in found:
        if person in absent:
            continue
        split = "test" if person in left_out else "train"
        videos[split].append(LabelledVideo(name, ACTIONS.index(action), frames))
    for split, chosen in videos.items():
        if not chosen:
            raise UserError(
                f"No {split} video in {source} with the test persons {', '.join(left_out)}: "
                f"found {', '.join(sorted({person for person, *_ in found}))}."
            )
    splits = {
        "train": sliding_windows(videos["train"], clip_frames, train_step, last=False),
        "test": sliding_windows(videos["test"], clip_frames, test_step, last=True),
    }
    options = {
        "size": list(size),
        "channels": channels,
        "clip_frames": clip_frames,
        "test_persons": list(left_out),
        "train_step": train_step,
        "test_step": test_step,
    }
    if absent:
        options["without"] = list(absent)
    pairs = {(who, what) for who, what, *_ in found}
    listed = {part: len(chosen) for part, chosen in videos.items()}
    for pair in missing_pairs(pairs):
        person = pair.partition("_")[0]
        if person not in absent:
            listed["test" if person in left_out else "train"] += 1
    told = [*_missing_notes(pairs), *told]
    told += padding_notes(splits, clip_frames)
    return make_data("weizmann", ACTIONS, splits, options, told, listed=listed)


def decoded_videos(
    folder: Path,
    size: tuple[int, int],
    channels: int = 1,
    *,
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> list[tuple[str, CachedVideo]]:
    """Name (posix, relative to the folder) and decoded frames of every video; UserError if none."""
    found, left_out = find_videos(folder)
    if not found:
        told = summary(left_out)
        raise UserError(
            f"No Weizmann video in {folder}: expected <person>_<action>.avi, as daria_bend.avi."
            f"{told and ' ' + told}"
        )
    pairs = [(file.relative_to(folder).as_posix(), f"{p}_{a}") for p, a, file in found]
    check_films(folder, {"Weizmann": pairs})
    cached = cache_videos(
        [file for _, _, file in found],
        size,
        channels,
        cache_dir=cache_dir,
        workers=workers,
        progress=progress,
    )
    names = [file.relative_to(folder).as_posix() for _, _, file in found]
    return list(zip(names, cached, strict=True))


def _person_and_action(name: str) -> tuple[str, str]:
    match = _NAME.fullmatch(name.rpartition("/")[2])
    if match is None:
        raise UserError(f"{name!r:.80} is not a Weizmann video; make the pack again")
    return match[1].lower(), match[2].lower()


def find_videos(folder: Path) -> tuple[list[tuple[str, str, Path]], list[LeftOut]]:
    """(person, action, file) of every video named as Weizmann's, sorted; what is not read."""
    tree, found, left_out = search(folder), [], []
    for name in tree.videos:
        match = _NAME.fullmatch(name.rpartition("/")[2])
        if match:
            found.append((match[1].lower(), match[2].lower(), folder / name))
        else:
            left_out.append(LeftOut(name, "not named <person>_<action>"))
    return sorted(found), [*tree.left_out, *left_out]


def parse_persons(given: str | Sequence[str]) -> tuple[str, ...]:
    """Test persons from names, "eli,ira" or "fold-eli"; sorted, each once."""
    names = given.split(",") if isinstance(given, str) else list(given)
    persons: set[str] = set()
    for name in (name.strip().lower() for name in names):
        if name not in PERSONS and name not in FOLDS:
            raise UserError(
                f"No Weizmann person {name!r}: choose among {', '.join(PERSONS)}, "
                "or one fold as fold-eli."
            )
        persons.update(FOLDS.get(name, (name,)))
    return tuple(sorted(persons))


def missing_pairs(found: Collection[tuple[str, str]]) -> list[str]:
    """The <person>_<action> of which there is no video."""
    return [
        f"{person}_{action}"
        for person in PERSONS
        for action in ACTIONS
        if (person, action) not in found
    ]


def _missing_notes(found: Collection[tuple[str, str]]) -> list[str]:
    missing = missing_pairs(found)
    if not missing:
        return []
    pairs = len(PERSONS) * len(ACTIONS)
    return [
        f"{pairs - len(missing)} of {pairs} Weizmann videos found (no {missing[0]}"
        f"{', …' if len(missing) > 1 else ''}); accuracy from a partial copy is not Weizmann's."
    ]
