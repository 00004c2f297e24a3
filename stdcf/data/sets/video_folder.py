"""Anyone's own clips: one folder a class, any video files in it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stdcf.data.clips.splits import (
    LabelledVideo,
    VideoData,
    check_options,
    make_data,
    padding_notes,
    sliding_windows,
)
from stdcf.data.frames.cache import Progress, cache_videos
from stdcf.data.sets.roots import data_root
from stdcf.errors import UserError

EXTENSIONS = (
    *(".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv"),
    *(".3gp", ".ogv"),
)
# The second half of a set that comes split, by the names in use.
TEST_FOLDERS = ("test", "val", "validation")

Found = list[tuple[str, Path]]  # class and file


def load(
    root: str | Path | None = None,
    *,
    size: tuple[int, int] = (60, 80),
    clip_frames: int = 16,
    channels: int = 1,
    test_fraction: float = 0.3,
    seed: int = 0,
    train_step: int = 4,
    test_step: int = 16,
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """<root>/<class>/<video>, or <root>/train/<class>/<video> beside test (or val).

    Whole frames are scaled to `size` (height, width), whatever their shape. Without train and test
    folders, test_fraction of each class's videos is drawn by a hash of seed and name: adding a
    video moves few others. Videos of one person or place may then be on both sides; where that
    matters, make the folders yourself. A class of one video is trained and not tested, which a
    note says. Raises UserError where a class has no training video.
    """
    if not 0 < test_fraction < 1:
        raise UserError(f"test_fraction={test_fraction}: give a number between 0 and 1.")
    check_options(size, clip_frames, train_step, test_step)
    folder = data_root("video_folder", root, "one folder of videos for each class")
    files, is_split = _find(folder, test_fraction, seed)
    classes = tuple(sorted({label for split in files.values() for label, _ in split}))
    _check(folder, files, classes)
    ordered = [(split, label, file) for split in files for label, file in files[split]]
    cached = cache_videos(
        [file for _, _, file in ordered],
        size,
        channels,
        cache_dir=cache_dir,
        workers=workers,
        progress=progress,
    )
    videos: dict[str, list[LabelledVideo]] = {"train": [], "test": []}
    for (split, label, file), frames in zip(ordered, cached, strict=True):
        name = file.relative_to(folder).as_posix()
        videos[split].append(LabelledVideo(name, classes.index(label), frames))
    splits = {
        "train": sliding_windows(videos["train"], clip_frames, train_step, last=False),
        "test": sliding_windows(videos["test"], clip_frames, test_step, last=True),
    }
    options = {
        "size": list(size),
        "channels": channels,
        "clip_frames": clip_frames,
        "train_step": train_step,
        "test_step": test_step,
    }
    if not is_split:
        options |= {"test_fraction": test_fraction, "seed": seed}
    notes = padding_notes(splits, clip_frames)
    untested = sorted(set(classes) - {label for label, _ in files["test"]})
    if untested:
        notes.insert(0, f"No test video of {', '.join(untested)}.")
    return make_data("video_folder", classes, splits, options, notes)


def _find(folder: Path, test_fraction: float, seed: int) -> tuple[dict[str, Found], bool]:
    """The files of both splits, and whether the folder came split."""
    second = next((folder / name for name in TEST_FOLDERS if (folder / name).is_dir()), None)
    if second is not None and (folder / "train").is_dir():
        return {"train": videos_by_class(folder / "train"), "test": videos_by_class(second)}, True
    files: dict[str, Found] = {"train": [], "test": []}
    found = videos_by_class(folder)
    for label in sorted({label for label, _ in found}):
        mine = [file for name, file in found if name == label]
        mine.sort(key=lambda file: _draw(seed, file.relative_to(folder).as_posix()))
        tested = min(max(round(test_fraction * len(mine)), 1), len(mine) - 1)
        files["test"] += [(label, file) for file in sorted(mine[:tested])]
        files["train"] += [(label, file) for file in sorted(mine[tested:])]
    return files, False


def videos_by_class(folder: Path) -> Found:
    """(class, file) of every video in folder's sub-folders, sorted; hidden ones are skipped."""
    return [
        (group.name, file)
        for group in sorted(folder.iterdir())
        if group.is_dir() and not group.name.startswith(".")
        for file in sorted(_videos(group))
    ]


def _videos(folder: Path) -> Iterable[Path]:
    return (
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in EXTENSIONS and not file.name.startswith(".") and file.is_file()
    )


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()


def _check(folder: Path, files: Mapping[str, Found], classes: Sequence[str]) -> None:
    if not classes:
        raise UserError(f"No video in {folder}: expected <class>/<video>.mp4 (or avi, mov, …).")
    if len(classes) < 2:
        raise UserError(f"{folder} holds one class, {classes[0]}: at least two are needed.")
    for label in classes:
        if not any(name == label for name, _ in files["train"]):
            raise UserError(
                f"No training video of {label} in {folder}: put at least one into train/{label}."
            )
    if not files["test"]:
        raise UserError(f"No test video in {folder}: each class needs at least two videos.")
