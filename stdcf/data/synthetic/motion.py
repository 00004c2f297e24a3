"""How the articulated figure moves: joints over time for the six KTH actions.

Lengths are in body heights, angles in radians, phases in cycles. Body axes: x forward, y up, z to
the left. All arrays run over the frames T of one pass, so nothing here loops over frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ACTIONS = ("walking", "jogging", "running", "boxing", "handclapping", "handwaving")
GAITS = ACTIONS[:3]

# Cycles per second. A gait looks the same after half a cycle, so the three flicker at 1.8-2.4,
# 4.4-5.4 and 9.6-11 Hz: apart at 25 frames per second; at 12.5 running folds onto walking.
TEMPO_HZ = {
    "walking": (0.9, 1.2),
    "jogging": (2.2, 2.7),
    "running": (4.8, 5.5),
    "boxing": (1.6, 2.6),
    "handclapping": (2.2, 3.8),
    "handwaving": (1.6, 2.6),
}
# Amplitude of the thigh's swing: a longer stride for a faster gait, with wide overlap, so that a
# single pose says little.
STRIDE_RAD = {"walking": (0.38, 0.62), "jogging": (0.42, 0.66), "running": (0.46, 0.70)}


@dataclass(frozen=True)
class Body:
    """A person's build, in body heights, and habits shared by all of his or her videos."""

    leg: float
    arm: float
    shoulder: float
    hip: float
    thickness: float
    head: float
    tempo: float
    lean: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Body:
        return cls(
            leg=rng.uniform(0.46, 0.53),
            arm=rng.uniform(0.32, 0.38),
            shoulder=rng.uniform(0.10, 0.13),
            hip=rng.uniform(0.045, 0.065),
            thickness=rng.uniform(0.85, 1.15),
            head=rng.uniform(0.060, 0.072),
            tempo=rng.uniform(0.96, 1.04),
            lean=rng.uniform(-0.02, 0.10),
        )


def _vector(x: Array | float, y: Array | float, z: Array | float) -> Array:
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float32)


def _bend(root: Array, target: Array, length: float, pole: tuple[float, float, float]) -> Array:
    """The middle joint of a two-bone limb of total `length`; `pole` is the side it bends to."""
    span = target - root
    distance = np.clip(np.linalg.norm(span, axis=-1, keepdims=True), 1e-3, None)
    axis = span / distance
    half = np.minimum(distance, 0.999 * length) / 2
    out = np.asarray(pole, np.float32) - axis * (axis @ np.asarray(pole, np.float32))[:, None]
    out /= np.clip(np.linalg.norm(out, axis=-1, keepdims=True), 1e-3, None)
    return (root + axis * half + out * np.sqrt((length / 2) ** 2 - half**2)).astype(np.float32)


def _reach(root: Array, target: Array, length: float) -> Array:
    """`target` drawn back to where a limb of `length` can touch it."""
    span = target - root
    distance = np.clip(np.linalg.norm(span, axis=-1, keepdims=True), 1e-3, None)
    return (root + span * np.minimum(1, 0.999 * length / distance)).astype(np.float32)


def _leg(hip: Array, cycle: Array, swing: float, lift: float, body: Body) -> dict[str, Array]:
    """Knee, ankle and toe of one leg in a gait; `cycle` counts this leg's strides."""
    turn = 2 * np.pi * cycle
    thigh = swing * np.sin(turn) + 0.1
    # The knee folds while the leg comes forward, which is what tells a gait's direction.
    shin = thigh - lift * np.clip(np.cos(turn - 0.5), 0, None) - 0.08
    half = body.leg / 2
    knee = hip + half * _vector(np.sin(thigh), -np.cos(thigh), 0)
    ankle = knee + half * _vector(np.sin(shin), -np.cos(shin), 0)
    toe = ankle + 0.06 * _vector(np.cos(shin), np.sin(shin), 0)
    return {"knee": knee, "ankle": ankle, "toe": toe}


def _hands(
    action: str, cycle: Array, body: Body, rng: np.random.Generator, alike: bool
) -> list[Array]:
    """Where the left and the right hand want to be, relative to the chest."""
    turn = 2 * np.pi * cycle
    jitter = rng.uniform(-0.02, 0.02, size=3).astype(np.float32)
    size = rng.uniform(0.8, 1.2)
    hands = []
    for side in (1.0, -1.0):
        if action == "boxing":
            # Left and right alternate; a punch is out for a fifth of its cycle.
            out = np.clip(np.cos(turn + (0 if side > 0 else np.pi)), 0, None) ** 1.5
            hand = _vector(0.12 + 0.26 * out, 0.03 - 0.01 * out, side * (0.08 - 0.05 * out))
        elif action == "handclapping" and not alike:
            gap = 0.01 + 0.14 * size * (0.5 - 0.5 * np.cos(turn))
            hand = _vector(0.24 - 0.5 * gap, -0.06, side * gap)
        else:
            # Where clapping shares this path, the arms go on until the hands all but meet.
            angle = (1.25 if alike else 0.9) + 0.55 * size * np.cos(turn)
            radius = 0.92 * body.arm
            hand = _vector(
                0.05, radius * np.sin(angle), side * (body.shoulder + radius * np.cos(angle))
            )
        hands.append(hand + jitter)
    return hands


def pose(
    action: str,
    body: Body,
    frames: int,
    fps: float,
    rng: np.random.Generator,
    *,
    alike: bool = False,
) -> dict[str, Array]:
    """Joints of one pass, each [T, 3] in body heights, with the feet on y = 0 at their lowest.

    alike: handclapping moves as handwaving does, above the head, so that only what is drawn of the
    hands tells the two apart.
    """
    tempo = "handwaving" if alike and action == "handclapping" else action
    tempo_hz = rng.uniform(*TEMPO_HZ[tempo]) * body.tempo
    cycle = rng.uniform() + tempo_hz * np.arange(frames) / fps
    gait = action in GAITS
    swing = rng.uniform(*STRIDE_RAD[action]) if gait else 0.0
    lift = rng.uniform(0.6, 1.3) if gait else 0.0
    lean = body.lean + (rng.uniform(0, 0.12) if gait else 0.0)
    bounce = rng.uniform(0.0, 0.02) if gait else 0.004
    stance = 0.0 if gait else rng.uniform(0.0, 0.07)
    pelvis = _vector(np.zeros(frames), body.leg + bounce * np.cos(4 * np.pi * cycle), 0)
    chest = pelvis + (0.82 - body.leg) * _vector(np.sin(lean), np.cos(lean), np.zeros(frames))
    joints = {
        "pelvis": pelvis,
        "chest": chest,
        "head": chest + 0.12 * _vector(np.sin(lean) + 0.1, 1.0, np.zeros(frames)),
    }
    hands = [] if gait else _hands(action, cycle, body, rng, alike)
    elbow_bend = rng.uniform(0.5, 1.7)
    for index, (name, side) in enumerate((("left", 1.0), ("right", -1.0))):
        hip = pelvis + _vector(0, 0, side * body.hip)
        shoulder = chest + _vector(0, -0.02, side * body.shoulder)
        if gait:
            legs = _leg(hip, cycle + index / 2, swing, lift, body)
            upper = -1.1 * swing * np.sin(2 * np.pi * (cycle + index / 2))
            fore = upper + elbow_bend
            elbow = shoulder + body.arm / 2 * _vector(np.sin(upper), -np.cos(upper), 0.1 * side)
            hand = elbow + body.arm / 2 * _vector(np.sin(fore), -np.cos(fore), 0)
        else:
            ankle = hip * np.array([1, 0, 1], np.float32) + _vector(0, 0.01, side * stance)
            knee = _bend(hip, ankle, body.leg, (1.0, 0.0, 0.0))
            legs = {"knee": knee, "ankle": ankle, "toe": ankle + _vector(0.06, 0, 0.02 * side)}
            hand = _reach(shoulder, chest + hands[index], body.arm)
            elbow = _bend(shoulder, hand, body.arm, (-0.3, -1.0, 0.6 * side))
        joints |= {f"{name}_{part}": place for part, place in legs.items()}
        joints |= {
            f"{name}_hip": hip,
            f"{name}_shoulder": shoulder,
            f"{name}_elbow": elbow,
            f"{name}_hand": hand,
        }
    return joints
