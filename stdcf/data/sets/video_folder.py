"""Anyone's own clips: one folder a class, any video files in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stdcf.data.clips.splits import VideoData, check_options
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.class_folders import ClassFolders, LabelledNames, Layout, find_classes
from stdcf.data.sets.films import drawn_note, drawn_parts
from stdcf.data.sets.official_splits import set_beside
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.tree import notes, summary
from stdcf.data.sets.whole_videos import decoded_clips
from stdcf.errors import UserError


def load(
    root: str | Path | None = None,
    *,
    size: tuple[int, int] = (60, 80),
    clip_frames: int = 16,
    channels: int = 1,
    test_fraction: float = 0.3,
    seed: int = 0,
    layout: Layout = "auto",
    train_step: int = 4,
    test_step: int = 16,
    fps: float | None = None,
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """<root>/<class>/<video>, or <root>/train/<class>/<video> beside test (or val, valid, eval …).

    Whole frames are scaled to `size` (height, width), whatever their shape. Without train and test
    folders, test_fraction of each class's videos is drawn by a hash of seed and name: adding a
    video moves few others. Clips that UCF101's and HMDB51's names tell to be of one film stay
    together; otherwise videos of one person or place may be on both sides: where that matters,
    make the folders yourself. A class of one video is trained and not tested, which a note says,
    as it says what is not read. layout: "classes" takes the root's folders for classes, whatever
    they are called and hold.

    Raises:
        UserError: where a class has no training video; where folders may be parts or classes; for
            a film under two labels or in two parts.
    """
    if not 0 < test_fraction < 1:
        raise UserError(f"test_fraction={test_fraction}: give a number between 0 and 1.")
    check_options(size, clip_frames, train_step, test_step)
    folder = data_root("video_folder", root, "one folder of videos for each class")
    found = find_classes(folder, layout)
    parts = found.parts if found.is_split else drawn_parts(found.parts["all"], test_fraction, seed)
    classes = tuple(sorted({label for part in parts.values() for label, _ in part}))
    _check(found, parts, classes)
    told = notes(found.left_out)
    official = set_beside(folder)
    if official:
        told.append(f"Split at random: {_use(official)}.")
    elif not found.is_split:
        told.append(drawn_note(found.parts["all"], test_fraction, seed))
    untested = sorted(set(classes) - {label for label, _ in parts["test"]})
    if untested:
        told.insert(0, f"No test video of {', '.join(untested)}.")
    return decoded_clips(
        "video_folder",
        folder,
        classes,
        parts,
        size=size,
        clip_frames=clip_frames,
        channels=channels,
        train_step=train_step,
        test_step=test_step,
        fps=fps,
        options={} if found.is_split else {"test_fraction": test_fraction, "seed": seed},
        notes=told,
        workers=workers,
        cache_dir=cache_dir,
        progress=progress,
    )


def _use(official: str) -> str:
    return f"{official}'s official lists are here, which --dataset {official} goes by"


def _check(found: ClassFolders, parts: Mapping[str, LabelledNames], classes: Sequence[str]) -> None:
    folder, left_out = found.root, summary(found.left_out)
    told = f" {left_out}" if left_out else ""
    official = set_beside(folder)
    if official and len(classes) < 2:
        raise UserError(f"{folder} holds no folders of classes, but {_use(official)}.")
    if not classes:
        raise UserError(
            f"No video in {folder}: expected <class>/<video>.mp4 (or avi, mov, …).{told}"
        )
    if len(classes) < 2:
        raise UserError(f"{folder} holds one class, {classes[0]}: at least two are needed.{told}")
    for label in classes:
        if not any(name == label for name, _ in parts["train"]):
            raise UserError(
                f"No training video of {label} in {folder}: put at least one into train/{label}."
                f"{told}"
            )
    if not parts["test"]:
        raise UserError(f"No test video in {folder}: each class needs at least two videos.{told}")
