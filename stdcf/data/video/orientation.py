"""How a frame is to be shown: turned and mirrored by its display matrix, as FFmpeg does."""

import math
import struct
from typing import Any

import numpy as np

# FFmpeg turns by whole right angles within a degree of them.
_DEGREES = 1.0

Matrix = tuple[int, int, int, int]
UPRIGHT: Matrix = (1, 0, 0, 1)


def display_matrix(frame: Any) -> Matrix:
    """(a, b, c, d) of ISO/IEC 14496-12, 6.2.2, each -1, 0 or 1: x' = ax + cy, y' = bx + dy.

    Raises:
        ValueError: if it turns by another angle than quarters, which no frame of pixels shows.
    """
    data = frame.side_data.get("DISPLAYMATRIX") if frame.side_data else None
    if data is None:
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
    across, down = math.hypot(a, c), math.hypot(b, d)
    if across == 0 or down == 0:
        return UPRIGHT
    degrees = math.degrees(math.atan2(b / down, a / across))
    if abs(degrees - 90 * round(degrees / 90)) > _DEGREES:
        raise ValueError(f"its display matrix turns it by {degrees:.0f}°; encode it upright")
    if round(degrees / 90) % 2:
        return 0, _sign(b), _sign(c), 0
    return _sign(a), 0, 0, _sign(d)


class Orientation:
    """`display_matrix` of a video's frames, read again where they are turned otherwise.

    PyAV's side data and its frame hold each other, so asking every frame would keep all of them
    in memory until Python looks for circles.
    """

    def __init__(self) -> None:
        self._known: dict[int, Matrix] = {}

    def __call__(self, frame: Any) -> Matrix:
        turn = int(frame.rotation)
        if turn not in self._known:
            self._known[turn] = display_matrix(frame)
        return self._known[turn]


def is_mirrored(matrix: Matrix) -> bool:
    """Not turned alone."""
    a, b, c, d = matrix
    return a * d - b * c < 0


def show(picture: np.ndarray, matrix: Matrix, rows: int) -> np.ndarray:
    """A view of a picture as its matrix shows it; `rows`: their axis, before that of columns."""
    a, b, c, d = matrix
    if b:
        picture, a, d = picture.swapaxes(rows, rows + 1), c, b
    if a < 0:
        picture = np.flip(picture, rows + 1)
    return np.flip(picture, rows) if d < 0 else picture


def _sign(number: int) -> int:
    return -1 if number < 0 else 1
