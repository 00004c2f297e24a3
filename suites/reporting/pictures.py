"""Small pictures as text, for the rows that figures are drawn from."""

import base64
import zlib
from collections.abc import Sequence

import numpy as np


def packed(images: np.ndarray) -> str:
    """uint8 values of any shape, compressed."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(images).tobytes(), 9)).decode()


def unpacked(text: str, size: Sequence[int]) -> np.ndarray:
    """uint8 [number of pictures, *size] of what `packed` made."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(-1, *size)
