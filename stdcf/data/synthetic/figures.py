"""Draws the articulated figure: anti-aliased capsules over a textured ground, with shake and grain.

Everything is vectorised over the frames T of a pass; gray levels run from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stdcf.data.synthetic.motion import GAITS, Array, Body, pose

WIDTH, HEIGHT, FPS = 160, 120, 25
FINGER_CONTRAST = 0.25  # gray levels between a finger or a gap and their mean
MARGIN = 8  # pixels of background beyond the frame, for the camera's shake


@dataclass(frozen=True)
class Look:
    """How hard the pictures are to read. Sizes in pixels of the 160 × 120 frame."""

    figure: tuple[float, float]  # height of the figure
    limb: float  # radius of a forearm
    contrast: tuple[float, float]  # gray levels between a limb and the ground behind it
    texture: float  # standard deviation of the background
    shake: float  # standard deviation of the camera's position
    grain: float  # standard deviation of the noise, redrawn every frame
    grain_size: int  # width of a grain
    finger: int = 0  # width of a finger and of the gap beside it; 0 draws no hands


# From the far side to the near one: ends, the radius relative to a forearm's, and what covers it.
BONES = (
    ("right_shoulder", "right_elbow", 1.2, "skin"),
    ("right_elbow", "right_hand", 1.0, "skin"),
    ("right_hip", "right_knee", 1.5, "legs"),
    ("right_knee", "right_ankle", 1.2, "legs"),
    ("right_ankle", "right_toe", 1.0, "legs"),
    ("pelvis", "chest", 3.6, "shirt"),
    ("left_shoulder", "right_shoulder", 1.6, "shirt"),
    ("left_hip", "left_knee", 1.5, "legs"),
    ("left_knee", "left_ankle", 1.2, "legs"),
    ("left_ankle", "left_toe", 1.0, "legs"),
    ("head", "head", 3.0, "skin"),
    ("left_shoulder", "left_elbow", 1.2, "skin"),
    ("left_elbow", "left_hand", 1.0, "skin"),
)


def _capsule(canvas: Array, start: Array, stop: Array, radius: Array, shade: float) -> None:
    """Paint one bone into canvas [T, H, W]: start, stop [T, 2] (x, y) and radius [T] in pixels.

    Only a window around the bone is touched, of one size for all frames so that numpy does them at
    once; where it leaves the picture it is pushed back, and distances stay true.
    """
    frames, height, width = canvas.shape
    reach = radius.max() + 1.5
    low = np.minimum(start, stop) - reach
    extent = np.ceil((np.abs(stop - start)).max(axis=0) + 2 * reach + 1).astype(int)
    w, h = min(extent[0], width), min(extent[1], height)
    left = np.clip(low[:, 0].astype(int), 0, width - w)
    top = np.clip(low[:, 1].astype(int), 0, height - h)
    columns, rows = left[:, None] + np.arange(w), top[:, None] + np.arange(h)
    x = (columns - start[:, :1]).astype(np.float32)[:, None, :]
    y = (rows - start[:, 1:]).astype(np.float32)[:, :, None]
    along = (stop - start).astype(np.float32)[:, :, None, None]
    share = (x * along[:, 0] + y * along[:, 1]) / np.maximum((along**2).sum(axis=1), 1e-6)
    np.clip(share, 0, 1, out=share)
    distance = np.hypot(x - share * along[:, 0], y - share * along[:, 1])
    cover = np.clip(radius.astype(np.float32)[:, None, None] + 0.5 - distance, 0, 1)
    at = np.arange(frames)[:, None, None], rows[:, :, None], columns[:, None, :]
    canvas[at] += cover * (shade - canvas[at])


def _smooth(noise: Array, height: int, width: int) -> Array:
    """[..., h, w] noise stretched to height × width by linear interpolation."""
    for axis, size in ((-2, height), (-1, width)):
        place = np.linspace(0, noise.shape[axis] - 1.001, size, dtype=np.float32)
        low = place.astype(int)
        part = (place - low).reshape((-1, 1) if axis == -2 else (-1,))
        noise = np.take(noise, low, axis) * (1 - part) + np.take(noise, low + 1, axis) * part
    return noise.astype(np.float32)


def background(scenario: int, look: Look, rng: np.random.Generator) -> Array:
    """A still [HEIGHT + 2 MARGIN, WIDTH + 2 MARGIN]: a wall, a ground and texture of many sizes."""
    height, width = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    indoors = scenario == 4
    picture = np.full((height, width), rng.uniform(0.35, 0.6), np.float32)
    horizon = int(height * rng.uniform(0.55, 0.85))
    picture[horizon:] += rng.choice([-1, 1]) * rng.uniform(0.03, 0.12)
    texture = np.zeros((height, width), np.float32)
    for cell in (3, 6, 12, 40):
        share = rng.uniform(0.4, 1.0)
        coarse = rng.standard_normal((height // cell + 2, width // cell + 2), dtype=np.float32)
        texture += share * _smooth(coarse, height, width)
    picture += look.texture * texture / texture.std()
    if indoors:
        for edge in rng.integers(0, width, size=3):
            picture[:, edge : edge + int(rng.integers(1, 4))] += rng.uniform(-0.15, 0.15)
        picture += np.linspace(-0.08, 0.08, width, dtype=np.float32) * rng.choice([-1, 1])
    return picture


def _shaken(picture: Array, shift: Array) -> Array:
    """The background seen by a camera moved by shift [T, 2] (x, y) pixels: [T, HEIGHT, WIDTH]."""
    whole = np.floor(shift).astype(int)
    part = (shift - whole).astype(np.float32)
    out = np.empty((len(shift), HEIGHT, WIDTH), np.float32)
    for t, (x, y) in enumerate(whole + MARGIN):
        px, py = part[t]
        near = picture[y : y + HEIGHT + 1, x : x + WIDTH + 1]
        row = near[:, :-1] * (1 - px) + near[:, 1:] * px
        out[t] = row[:-1] * (1 - py) + row[1:] * py
    return out


def _grain(frames: int, look: Look, rng: np.random.Generator) -> Array:
    cell = look.grain_size
    noise = rng.standard_normal((frames, HEIGHT // cell + 2, WIDTH // cell + 2), dtype=np.float32)
    if cell > 1:
        noise = noise.repeat(cell, axis=1).repeat(cell, axis=2)
    return look.grain * noise[:, :HEIGHT, :WIDTH]


def _shades(ground: float, scenario: int, look: Look, rng: np.random.Generator) -> dict[str, float]:
    """Gray levels of clothes and skin, each at the look's contrast to the ground, either way."""
    sign = rng.choice([-1, 1])
    shades = {
        part: ground + sign * rng.uniform(*look.contrast) for part in ("skin", "legs", "shirt")
    }
    if scenario == 3:  # other clothes
        shades["shirt"] = ground - sign * rng.uniform(*look.contrast)
    return {part: float(np.clip(shade, 0.03, 0.97)) for part, shade in shades.items()}


def _hand(canvas: Array, centre: Array, finger: int, shade: float, spread: bool) -> None:
    """Paint one hand into canvas [T, H, W]: a square of two fingers, or flat with their mean gray.

    centre: [T, 2] (x, y) in pixels. The hand lies on a raster of a finger and a gap, so that an
    area interpolation to pixels of that size averages each finger with its gap, exactly, and what
    is left of a spread hand is a flat one.
    """
    _, height, width = canvas.shape
    pitch, side = 2 * finger, 4 * finger
    for t, (x, y) in enumerate(np.rint(centre / pitch).astype(int) - 1):
        left = pitch * int(np.clip(x, 0, (width - side) // pitch))
        top = pitch * int(np.clip(y, 0, (height - side) // pitch))
        hand = canvas[t, top : top + side, left : left + side]
        hand[:] = shade
        if spread:
            fingers = np.arange(side) % pitch < finger
            hand += np.where(fingers, FINGER_CONTRAST, -FINGER_CONTRAST)


def film(
    action: str,
    scenario: int,
    body: Body,
    frames: int,
    look: Look,
    scene: Array,
    rng: np.random.Generator,
) -> Array:
    """One pass of an action before a background, uint8 [T, HEIGHT, WIDTH]."""
    joints = pose(action, body, frames, FPS, rng, alike=look.finger > 0)
    time = np.linspace(-0.5, 0.5, frames, dtype=np.float32)
    height = np.full(frames, rng.uniform(*look.figure), np.float32)
    if scenario == 2:  # scale change
        height *= 1 + rng.choice([-1, 1]) * 0.3 * time
    direction = rng.choice([-1.0, 1.0])
    if action in GAITS:
        yaw = rng.uniform(-0.25, 0.25)
        travel = direction * rng.uniform(0.6, 2.6) * (frames - 1)
        x = WIDTH * rng.uniform(0.4, 0.6) + travel * time
    else:
        yaw = rng.uniform(-0.2, 0.6) if action == "boxing" else rng.uniform(0.9, 1.6)
        x = np.full(frames, WIDTH * rng.uniform(0.3, 0.7))
    shift = rng.normal(0, look.shake, (frames, 2)).clip(1 - MARGIN, MARGIN - 1).astype(np.float32)
    room = max(HEIGHT - 1.1 * height.max(), 4) / 2
    y = np.full(frames, HEIGHT / 2 + 0.52 * height.mean() + room * rng.uniform(-1, 1))
    ground = float(scene.mean())
    shades = _shades(ground, scenario, look, rng)
    canvas = _shaken(scene, shift)
    scale = height[:, None]
    origin = np.stack([x, y], axis=-1) - shift

    def place(name: str) -> Array:
        joint = joints[name]
        across = direction * (np.cos(yaw) * joint[:, 0] + np.sin(yaw) * joint[:, 2])
        return (origin + scale * np.stack([across, -joint[:, 1]], axis=-1)).astype(np.float32)

    coat = 1.25 if scenario == 3 else 1.0
    for start, stop, relative, part in BONES:
        wide = coat if part == "shirt" else 1.0
        radius = look.limb * relative * wide * body.thickness * height / np.mean(look.figure)
        _capsule(canvas, place(start), place(stop), radius, shades[part])
    if look.finger and action in ("handclapping", "handwaving"):
        # Far enough from black and white that noise on a finger is not cut off, nor its mean moved.
        shade = float(np.clip(shades["skin"], FINGER_CONTRAST + 0.12, 0.88 - FINGER_CONTRAST))
        for hand in ("right_hand", "left_hand"):
            _hand(canvas, place(hand), look.finger, shade, action == "handwaving")
    canvas += _grain(frames, look, rng)
    return (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
