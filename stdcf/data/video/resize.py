"""Area interpolation in whole numbers: the same bytes on every machine."""

from functools import cache

import numpy as np

# Above this, a float32 no longer holds every whole number.
_EXACT_FLOAT32 = 2**24
# Pixels that are floats at a time, so that the size of a frame is not that of the memory.
_STRIP = 2**20


def resize_area(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink (or enlarge) frames so that each pixel is the mean of the area that it covers.

    frames: uint8 [..., H, W]; size: (height, width) of the result. Covered areas are counted in
    whole units and the sums stay exact in floating point, so that no BLAS, thread count or
    instruction set changes a byte; halves round up.
    """
    height, width = frames.shape[-2:]
    if (height, width) == tuple(size):
        return np.ascontiguousarray(frames)
    if frames.size > _STRIP and frames.ndim > 2:
        return np.stack([resize_area(frame, size) for frame in frames])
    area = height * width
    dtype = np.float32 if area * 255 < _EXACT_FLOAT32 else np.float64
    rows = _coverage(height, size[0]).astype(dtype)
    columns = _coverage(width, size[1]).astype(dtype)
    sums: np.ndarray
    if frames.size <= _STRIP:
        sums = np.matmul(np.matmul(rows, frames.astype(dtype)), columns.T)
    else:
        sums = np.zeros(size, dtype)
        step = max(_STRIP // width, 1)
        for top in range(0, height, step):
            strip = slice(top, top + step)
            sums = sums + np.matmul(
                rows[:, strip], np.matmul(frames[strip].astype(dtype), columns.T)
            )
    return ((2 * sums.astype(np.int64) + area) // (2 * area)).astype(np.uint8)


@cache
def _coverage(given: int, wanted: int) -> np.ndarray:
    """How much of each given pixel a wanted one covers, in 1/wanted pixels: [wanted, given]."""
    start = np.maximum(np.arange(wanted)[:, None] * given, np.arange(given) * wanted)
    end = np.minimum((np.arange(wanted)[:, None] + 1) * given, (np.arange(given) + 1) * wanted)
    return np.maximum(end - start, 0)
