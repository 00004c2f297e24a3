"""The embedded data set: KTH's six actions by drawn figures, in KTH's own layout.

It is there so that every command runs on a machine that has no data; docs/synthetic_actions.md is
its card. Its numbers say nothing about real video.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from stdcf.data.clips.clips import ClipDataset, ClipPlan, Clips
from stdcf.data.clips.splits import VideoData
from stdcf.data.frames.cache import Progress, default_cache_dir
from stdcf.data.sets import kth
from stdcf.data.sets.kth_sequences import TRAIN_PERSONS, VALIDATION_PERSONS, Counting
from stdcf.data.synthetic.figures import FPS, Look, background, film
from stdcf.data.synthetic.files import write_avi, write_sequences
from stdcf.data.synthetic.motion import ACTIONS, Array, Body
from stdcf.errors import UserError

NAME = "synthetic_actions"
VERSION = 4  # of the generator: whatever changes a pixel counts this up
PASS_FRAMES = 16  # of one subsequence
MARKER = "synthetic_actions.json"
PERSONS = (*TRAIN_PERSONS, *VALIDATION_PERSONS)
SCENARIOS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Recipe:
    """What decides every pixel: kept beside the videos and hashed into their folder's name."""

    persons: tuple[int, ...]
    scenarios: tuple[int, ...]
    frames_per_video: int
    look: Look
    seed: int = 0

    def __post_init__(self) -> None:
        for what, given, last in (
            ("persons", self.persons, 25),
            ("scenarios", self.scenarios, SCENARIOS[-1]),
        ):
            if not given or not set(given) <= set(range(1, last + 1)):
                raise UserError(f"{what}={list(given)}: choose some of 1 to {last}.")
        if self.frames_per_video < 1:
            raise UserError(f"frames_per_video={self.frames_per_video}: give at least 1.")

    def described(self) -> str:
        """As JSON: equal exactly where the videos are."""
        fields = {"version": VERSION, **asdict(self)}
        for name in ("persons", "scenarios"):
            fields[name] = sorted(set(fields[name]))
        return json.dumps(fields, indent=1, sort_keys=True)

    def jobs(self) -> list[tuple[int, str, int]]:
        """(person, action, scenario) of every video, in the order of 00sequences.txt."""
        return [
            (person, action, scenario)
            for person in sorted(set(self.persons))
            for action in sorted(ACTIONS)
            for scenario in sorted(set(self.scenarios))
        ]


FULL = Recipe(
    persons=PERSONS,
    scenarios=SCENARIOS,
    frames_per_video=96,
    look=Look(
        figure=(39, 50),
        limb=0.8,
        contrast=(0.35, 0.5),
        texture=0.03,
        shake=0.3,
        grain=0.03,
        grain_size=4,
        finger=2,
    ),
)
# For clips of 30 × 40 and a few minutes of training: larger figures that stand out more, and half
# of the persons to test on, since every stage of ITSL is tested twice.
QUICK = Recipe(
    persons=(*TRAIN_PERSONS, *VALIDATION_PERSONS[:4]),
    scenarios=(1, 3),
    frames_per_video=96,
    look=Look(
        figure=(74, 90),
        limb=3.0,
        contrast=(0.4, 0.5),
        texture=0.01,
        shake=0.0,
        grain=0.01,
        grain_size=2,
    ),
)
VARIANTS = {"full": FULL, "quick": QUICK}

# The positions of a clip's frames -> those that are kept.
KEPT_FRAMES: dict[str, Callable[[Array], Array]] = {
    "all": lambda frames_T: frames_T,
    "every_second": lambda frames_T: frames_T[::2],
    "one": lambda frames_T: frames_T[len(frames_T) // 2].repeat(4),
}


def _passes(frames: int) -> list[tuple[int, int]]:
    """The video's subsequences, half-open: each PASS_FRAMES long, a shorter rest at the end."""
    return [(low, min(low + PASS_FRAMES, frames)) for low in range(0, frames, PASS_FRAMES)]


def video_frames(recipe: Recipe, person: int, action: str, scenario: int) -> Array:
    """One video, uint8 [frames, 120, 160]; the recipe's other videos have no part in it."""
    body = Body.draw(np.random.default_rng([recipe.seed, person]))
    rng = np.random.default_rng([recipe.seed, person, ACTIONS.index(action), scenario])
    scene = background(scenario, recipe.look, rng)
    passes = [
        film(action, scenario, body, stop - start, recipe.look, scene, rng)
        for start, stop in _passes(recipe.frames_per_video)
    ]
    return np.concatenate(passes)


def generate(
    root: str | Path,
    *,
    persons: Sequence[int] = FULL.persons,
    scenarios: Sequence[int] = FULL.scenarios,
    frames_per_video: int = FULL.frames_per_video,
    look: Look = FULL.look,
    seed: int = 0,
    workers: int = 2,
    progress: Progress | None = None,
) -> None:
    """Write the videos and 00sequences.txt under `root`, whole or not at all.

    They are made in a folder beside `root` and renamed, so that an interrupted or a second process
    does no harm; where they are already, nothing is done. workers: threads, which change no byte.
    progress: called after each video. Raises UserError where `root` holds anything else, or cannot
    be written.
    """
    recipe = Recipe(tuple(persons), tuple(scenarios), frames_per_video, look, seed)
    _generate(Path(root).expanduser(), recipe, workers, progress)


def load(
    root: str | Path | None = None,
    *,
    size: tuple[int, int] = (60, 80),
    clip_frames: int = 16,
    variant: Literal["full", "quick"] = "full",
    seed: int = 0,
    channels: int = 1,
    counting: Counting = "subsequence",
    frames: Literal["all", "every_second", "one"] = "all",
    workers: int = 2,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """The videos as the KTH loader reads them, generated first where they are missing.

    root: default a folder beside the frame cache, named for the recipe. size: (height, width).
    channels, counting: as in `kth.load`. frames: what is kept of each clip (the card's conditions);
    "one" is the middle frame, shown four times because kth_cnn halves time twice.
    progress: called for each video made, then for each decoded.
    """
    if frames not in KEPT_FRAMES:
        raise UserError(f"frames={frames!r}: choose {', '.join(KEPT_FRAMES)}.")
    if variant not in VARIANTS:
        raise UserError(f"variant={variant!r}: choose {' or '.join(VARIANTS)}.")
    recipe = replace(VARIANTS[variant], seed=seed)
    if root is None:
        key = hashlib.sha256(recipe.described().encode()).hexdigest()[:12]
        root = (cache_dir or default_cache_dir()).parent / NAME / f"{variant}-{key}"
    _generate(Path(root).expanduser(), recipe, workers, progress)
    data = kth.load(
        root,
        size=size,
        clip_frames=clip_frames,
        channels=channels,
        counting=counting,
        workers=workers,
        cache_dir=cache_dir,
        progress=progress,
    )
    if frames != "all":
        kept = KEPT_FRAMES[frames](np.arange(clip_frames))
        data = replace(
            data,
            train=_thinned(data.train, kept),
            test=_thinned(data.test, kept),
            manifest=hashlib.sha256(f"{data.manifest} {frames}".encode()).hexdigest(),
        )
    note = "Generated figures, not film: accuracies say nothing about real video."
    return replace(data, name=NAME, notes=(*data.notes, note), synthetic=True)


def _thinned(clips: Clips, kept: Array) -> ClipDataset:
    assert isinstance(clips, ClipDataset), "KTH's clips are cut from decoded videos"
    plan = ClipPlan(clips.plan.videos[:, kept], clips.plan.frames[:, kept])
    labels = [clips.classes.index(name.split("/")[0]) for name in clips.video_names]
    return ClipDataset(clips.videos, clips.video_names, labels, clips.classes, plan)


def _generate(root: Path, recipe: Recipe, workers: int, progress: Progress | None) -> None:
    if _is_complete(root, recipe):
        return
    jobs = recipe.jobs()
    names = [f"person{person:02}_{action}_d{scenario}" for person, action, scenario in jobs]
    draft = _draft(root)

    def make(name: str, job: tuple[int, str, int]) -> str:
        path = draft / job[1] / f"{name}_uncomp.avi"
        write_avi(path, video_frames(recipe, *job), FPS)
        return path.name

    try:
        for action in ACTIONS:
            (draft / action).mkdir()
        # Threads: numpy and the encoder let go of the interpreter for nearly all of the time.
        with ThreadPoolExecutor(workers, thread_name_prefix="generate") as pool:
            try:
                for done, file in enumerate(pool.map(make, names, jobs), start=1):
                    if progress:
                        progress(done, len(jobs), file)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        write_sequences(draft / "00sequences.txt", names, _passes(recipe.frames_per_video))
        (draft / MARKER).write_text(recipe.described())
        try:
            draft.rename(root)
        except OSError:
            if not _is_complete(root, recipe):  # otherwise another process was first, with the same
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_complete(root: Path, recipe: Recipe) -> bool:
    """True where this very recipe's videos lie; refuses a folder that holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    marker = root / MARKER
    if not marker.is_file() or marker.read_text() != recipe.described():
        raise UserError(f"{root} holds something else: give an empty or a new folder.")
    return True


def _draft(root: Path) -> Path:
    """A new folder beside `root`; what killed processes left of earlier ones is cleared away."""
    prefix = f".{root.name}.draft-"
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        for stale in root.parent.glob(f"{prefix}*"):
            if time.time() - stale.stat().st_mtime > 3600:
                shutil.rmtree(stale, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix=prefix, dir=root.parent))
        draft.chmod(0o755)
    except OSError as error:
        raise UserError(
            f"Cannot write the synthetic videos to {root.parent}: {error.strerror}. "
            "Set STDCF_CACHE to a folder with room that you can write."
        ) from error
    return draft
