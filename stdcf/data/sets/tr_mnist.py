"""TR-MNIST: clips of digits that move and turn, after Figure 2 and Appendix B.

Appendix B is not public; docs/tr_mnist.md is the card of these clips and says what was chosen.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stdcf.data.clips.clips import Clips
from stdcf.data.clips.splits import VideoData
from stdcf.data.clips.transforms import Pixels
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.digit_images import Source, load_digits
from stdcf.errors import UserError

NAME = "tr_mnist"
VERSION = 1  # of the generator: whatever changes a pixel counts this up
CLASSES = tuple("0123456789")
# Pixels stay in [0, 1]: what is given back is compared with them.
UNIT = Pixels((0.0,), (1.0,))
# Of the clip's height, as Moving MNIST's 28 of 64 pixels.
_DIGIT_SHARE = 28 / 64


@dataclass(frozen=True)
class Motion:
    """How digits move: from a seed, each clip by its own number alone.

    Attributes:
        digits: in each clip.
        speed: least and most, in heights of the clip a frame; the direction is any.
        spin: least and most, in degrees a frame, to either side.
    """

    digits: int = 2
    speed: tuple[float, float] = (1 / 64, 4 / 64)
    spin: tuple[float, float] = (4.0, 20.0)


class MovingDigits(Clips):
    """Clips [1, T, H, W] of digits from `images`, drawn when they are asked for.

    Digits go straight on, at places between pixels, and are thrown back where their box would leave
    the frame; they turn evenly. Where two overlap the brighter pixel counts. A clip's label is that
    of its first digit.

    Args:
        images: uint8 [N, h, w], with labels [N].
        stream: further numbers of the seed, so that training and test clips differ.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        number: int,
        *,
        size: tuple[int, int],
        clip_frames: int,
        motion: Motion,
        seed: int,
        stream: int,
    ) -> None:
        self.classes = CLASSES
        self.video_names = tuple(f"clip{index:05}" for index in range(number))
        self.video_of_clip: np.ndarray = np.arange(number, dtype=np.int64)
        self._size, self._frames, self._motion = size, clip_frames, motion
        self._side = max(round(size[0] * _DIGIT_SHARE), 1)
        rngs = (np.random.default_rng([seed, stream, clip]) for clip in range(number))
        draws = [self._draw(len(images), rng) for rng in rngs]
        chosen_ND, self._places_NDT2, self._angles_NDT = (
            np.stack(arrays) for arrays in zip(*draws, strict=True)
        )
        self.labels: np.ndarray = labels[chosen_ND[:, 0]].astype(np.int64)
        # Those that no clip shows are not kept.
        used_N, places = np.unique(chosen_ND, return_inverse=True)
        self._image_ND = places.reshape(chosen_ND.shape)
        self._images_N1hw = _resized(images[used_N], self._side)

    def __len__(self) -> int:
        return len(self._image_ND)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        return 1, self._frames, *self._size

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        chosen = np.asarray(indices, np.int64)
        clips = [self._film(int(index)) for index in chosen]
        shape = (0, *self.clip_shape)
        return (
            torch.stack(clips) if clips else torch.empty(shape, dtype=torch.uint8),
            torch.from_numpy(self.labels[chosen]),
            torch.from_numpy(self.video_of_clip[chosen]),
        )

    def path(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Centres [digits, T, 2] as (x, y) pixels from the clip's centre, and angles [digits, T].

        Angles are in radians, from the first frame's on, clockwise.
        """
        return self._places_NDT2[index], self._angles_NDT[index]

    def _draw(
        self, number: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which of `number` images [D], their centres [D, T, 2] and angles [D, T]."""
        motion, (height, width) = self._motion, self._size
        d, t = motion.digits, np.arange(self._frames)
        which = rng.integers(number, size=d)
        heading = rng.uniform(0, 2 * math.pi, d)
        speed = height * rng.uniform(*motion.speed, d)
        velocity_D2 = speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)
        room_2 = np.array([width - self._side, height - self._side]) / 2
        start_D2 = rng.uniform(-room_2, room_2, (d, 2))
        straight_DT2 = start_D2[:, None] + velocity_D2[:, None] * t[:, None]
        spin = np.deg2rad(rng.uniform(*motion.spin, d)) * rng.choice((-1, 1), d)
        angles_DT = rng.uniform(0, 2 * math.pi, (d, 1)) + spin[:, None] * t
        return which, _thrown_back(straight_DT2, room_2), angles_DT

    def _film(self, index: int) -> Tensor:
        """uint8 [1, T, H, W]."""
        height, width = self._size
        places_DT2 = torch.from_numpy(self._places_NDT2[index])
        angles_DT = torch.from_numpy(self._angles_NDT[index])
        cos, sin = angles_DT.cos(), angles_DT.sin()
        # From a pixel of the clip back to the digit's, both in units of half a side.
        back_DT22 = torch.stack([cos, sin, -sin, cos], -1).unflatten(-1, (2, 2))
        scale_2 = torch.tensor([width, height], dtype=torch.float64) / self._side
        shift_DT21 = -(back_DT22 @ places_DT2[..., None]) * (2 / self._side)
        theta_DT23 = torch.cat([back_DT22 * scale_2, shift_DT21], -1)
        film = torch.zeros(self._frames, 1, height, width)
        for digit, theta_T23 in zip(self._image_ND[index], theta_DT23, strict=True):
            grid = F.affine_grid(theta_T23.float(), list(film.shape), align_corners=False)
            image = self._images_N1hw[digit].expand(self._frames, -1, -1, -1)
            film = torch.maximum(film, F.grid_sample(image, grid, align_corners=False))
        return film.mul_(255).round_().to(torch.uint8).transpose(0, 1)


def _thrown_back(straight: np.ndarray, room_2: np.ndarray) -> np.ndarray:
    """Positions as if walls stood at ±room: a triangle wave of the straight way."""
    span = 2 * np.maximum(room_2, 1e-9)
    folded = np.abs(np.mod(straight + room_2 + span, 2 * span) - span)
    return np.where(room_2 > 0, folded - room_2, 0.0)


def _resized(images: np.ndarray, side: int) -> Tensor:
    """float32 [N, 1, side, side] in [0, 1]: means over areas down, linear up."""
    x = torch.from_numpy(np.ascontiguousarray(images))[:, None].float().div_(255)
    if x.shape[-2:] == (side, side):
        return x
    if min(x.shape[-2:]) > side:
        return F.interpolate(x, (side, side), mode="area")
    return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def load(
    root: str | Path | None = None,
    *,
    size: tuple[int, int] = (64, 64),
    clip_frames: int = 16,
    train_clips: int = 1000,
    test_clips: int = 200,
    digits: Source = "auto",
    digits_a_clip: int = 2,
    seed: int = 0,
    channels: int = 1,
    progress: Progress | None = None,
) -> VideoData:
    """Training clips of the training digits, test clips of the test digits.

    root, digits: see `digit_images.load_digits`. size: (height, width).

    Raises:
        UserError: for numbers below 1, or where there are no digits.
    """
    numbers = (*size, clip_frames, train_clips, test_clips, digits_a_clip)
    if len(size) != 2 or min(numbers) < 1 or seed < 0:
        raise UserError(
            f"{NAME}: size, clip_frames, train_clips, test_clips and digits_a_clip must be at "
            f"least 1 and seed at least 0, not {numbers} and {seed}."
        )
    if channels != 1:
        raise UserError(f"{NAME} is gray: channels must be 1, not {channels}.")
    images = load_digits(root, digits)
    motion = Motion(digits=digits_a_clip)
    common: dict[str, Any] = {
        "size": (size[0], size[1]),
        "clip_frames": clip_frames,
        "motion": motion,
        "seed": seed,
    }
    content = {
        "version": VERSION,
        "images": images.sha256,
        "train_clips": train_clips,
        "test_clips": test_clips,
        **common,
        "motion": asdict(motion),
    }
    note = f"Clips of moving, turning digits, made from {images.name}."
    if images.name != "MNIST":
        note = f"Made from {images.name}, NOT MNIST: not comparable with the paper's."
    return VideoData(
        NAME,
        CLASSES,
        MovingDigits(images.train, images.train_labels, train_clips, stream=0, **common),
        MovingDigits(images.test, images.test_labels, test_clips, stream=1, **common),
        hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        (note,),
        pixels=UNIT,
    )
