"""Small trees in the formats of Kinetics and Something-Something: real encoded files, drawn here.

For tests, and for going through a suite before the data is there. In each class a disc of its own
colour moves over noise in its own direction, so that colour tells classes apart in one frame and
the direction, which mirroring turns around, in several.
"""

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stdcf.data.sets.listing import GENERATED_MARKER
from stdcf.data.video.encode import CODECS, write_video
from stdcf.errors import UserError

Layout = Literal["csv", "folders"]
# Of Kinetics; the containers take turns.
CONTAINERS = ("mp4", "mkv", "avi", "webm")


@dataclass(frozen=True)
class Amount:
    """How much is generated.

    Attributes:
        train, test: videos of each class.
        frames: of each video.
        size: (height, width).
    """

    classes: int = 4
    train: int = 6
    test: int = 2
    frames: int = 72
    size: tuple[int, int] = (256, 340)
    seed: int = 0


def generate(name: str, root: Path, amount: Amount | None = None) -> int:
    """Writes a tree of a data set by name and returns its number of videos.

    Args:
        name: one of `GENERATORS`.
        root: a folder that is empty or not there.

    Raises:
        UserError: for another name or folder, or for an amount without a class or a video.
    """
    amount = amount or Amount()
    if name not in GENERATORS:
        raise UserError(f"Cannot generate {name!r}: choose {', '.join(GENERATORS)}.")
    if min(amount.classes - 1, amount.train, amount.test, amount.frames, *amount.size) < 1:
        raise UserError(f"{amount}: give at least 2 classes and 1 of everything else.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} is not empty: give a folder that is, or that is not there.")
    root.mkdir(parents=True, exist_ok=True)
    GENERATORS[name](root, amount)
    marker = {"data": name, "seed": amount.seed, "note": "generated, not filmed"}
    (root / GENERATED_MARKER).write_text(json.dumps(marker) + "\n", encoding="utf-8")
    return amount.classes * (amount.train + amount.test)


def kinetics(root: Path, amount: Amount, layout: Layout = "csv") -> None:
    """train.csv and val.csv beside videos in train/ and val/, or <class>/<video> in these alone."""
    for part, number in (("train", amount.train), ("val", amount.test)):
        rows = []
        for label, index, seed in _videos(amount, part, number):
            class_name = f"moving {_DIRECTIONS[label % len(_DIRECTIONS)]} {label}"
            start = 7 * index
            youtube_id = f"-gen{label:03d}{part[0]}{index:03d}"
            folder = root / part / (class_name if layout == "folders" else "")
            folder.mkdir(parents=True, exist_ok=True)
            container = CONTAINERS[(label + index) % len(CONTAINERS)]
            file = folder / f"{youtube_id}_{start:06d}_{start + 10:06d}.{container}"
            write_video(file, draw(label, amount, seed), CODECS[container])
            rows.append([class_name, youtube_id, start, start + 10, part])
        if layout == "csv":
            with (root / f"{part}.csv").open("w", encoding="utf-8", newline="") as file_:
                writer = csv.writer(file_)
                writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
                writer.writerows(rows)


def something_v1(root: Path, amount: Amount) -> None:
    """id;label lists beside folders of JPEGs at 12 frames a second."""
    from PIL import Image

    videos = root / "20bn-something-something-v1"
    lists = root / "something-something-v1-{}.csv"
    for part, rows in _something(amount).items():
        for key, label, seed in rows:
            folder = videos / key
            folder.mkdir(parents=True)
            for number, frame_HWC in enumerate(draw(label, amount, seed), 1):
                Image.fromarray(frame_HWC).save(folder / f"{number:05d}.jpg", quality=90)
        text = "".join(f"{key};{_template(label)}\n" for key, label, _ in rows)
        Path(str(lists).format(part)).write_text(text, encoding="utf-8")
    labels = "".join(f"{_template(label)}\n" for label in range(amount.classes))
    Path(str(lists).format("labels")).write_text(labels, encoding="utf-8")


def something_v2(root: Path, amount: Amount) -> None:
    """JSON lists with templates beside WebM files."""
    videos, labels = root / "20bn-something-something-v2", root / "labels"
    videos.mkdir()
    labels.mkdir()
    for part, rows in _something(amount).items():
        for key, label, seed in rows:
            write_video(videos / f"{key}.webm", draw(label, amount, seed), CODECS["webm"], fps=12)
        content = [
            {
                "id": key,
                "label": _template(label, "a disc"),
                "template": _template(label, "[something]"),
                "placeholders": ["a disc"],
            }
            for key, label, _ in rows
        ]
        (labels / f"{part}.json").write_text(json.dumps(content), encoding="utf-8")
    numbers = {_template(label): str(label) for label in range(amount.classes)}
    (labels / "labels.json").write_text(json.dumps(numbers), encoding="utf-8")


GENERATORS: dict[str, Callable[[Path, Amount], None]] = {
    "kinetics400": kinetics,
    "something_v1": something_v1,
    "something_v2": something_v2,
}

_DIRECTIONS = ("right", "left", "down", "up")


def draw(label: int, amount: Amount, seed: int) -> np.ndarray:
    """A video of a class: uint8 RGB [F, H, W, 3]; the start and the noise are the seed's."""
    rng = np.random.default_rng((amount.seed, label, seed))
    height, width = amount.size
    rows, columns = np.mgrid[:height, :width]
    noise = np.kron(rng.integers(60, 120, (-(-height // 8), -(-width // 8), 3)), np.ones((8, 8, 1)))
    background_HW3 = noise[:height, :width]
    hue = 2 * math.pi * label / amount.classes
    colour = [128 + 127 * math.cos(hue + turn) for turn in (0, 2.1, 4.2)]
    dy, dx = ((0, 1), (0, -1), (1, 0), (-1, 0))[label % 4]
    # Across its way near the middle, so that a square crop seldom misses it.
    y = height * (rng.uniform(0.35, 0.65) if dy == 0 else rng.random())
    x = width * (rng.uniform(0.4, 0.6) if dx == 0 else rng.random())
    radius = height / 6
    frames_FHW3 = np.empty((amount.frames, height, width, 3), np.uint8)
    for number, frame_HW3 in enumerate(frames_FHW3):
        step = number * height / 48
        disc = _distance(rows, y + dy * step, height) ** 2 + (
            _distance(columns, x + dx * step, width) ** 2
        )
        frame_HW3[:] = np.where((disc < radius**2)[..., None], colour, background_HW3)
    return frames_FHW3


def _distance(places: np.ndarray, centre: float, length: int) -> np.ndarray:
    """On a ring: what leaves on one side comes back on the other."""
    away = np.abs(places - centre % length)
    return np.minimum(away, length - away)


def _videos(amount: Amount, part: str, number: int) -> list[tuple[int, int, int]]:
    """(class, index in the class, seed) of a part's videos."""
    first = 0 if part == "train" else amount.train
    return [
        (label, index, first + index) for label in range(amount.classes) for index in range(number)
    ]


def _something(amount: Amount) -> dict[str, Sequence[tuple[str, int, int]]]:
    """Part -> (id, class, seed)."""
    parts = {"train": amount.train, "validation": amount.test}
    found: dict[str, Sequence[tuple[str, int, int]]] = {}
    key = 1
    for part, number in parts.items():
        rows = []
        for label, _, seed in _videos(amount, part, number):
            rows.append((str(key), label, seed))
            key += 1
        found[part] = rows
    return found


def _template(label: int, placeholder: str = "something") -> str:
    """A class as its template names it."""
    return f"Moving {placeholder} {_DIRECTIONS[label % len(_DIRECTIONS)]} {label}"
