from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stdcf.data.video.resize import resize_area


def mean_of_area(
    frame: np.ndarray, row: Fraction, column: Fraction, high: Fraction, wide: Fraction
):
    """The mean over the rectangle from (row, column), by exact fractions."""
    total = Fraction(0)
    for y in range(frame.shape[0]):
        for x in range(frame.shape[1]):
            tall = max(min(row + high, y + 1) - max(row, y), 0)
            broad = max(min(column + wide, x + 1) - max(column, x), 0)
            total += tall * broad * int(frame[y, x])
    return total / (high * wide)


@settings(max_examples=30, deadline=None)
@given(
    given=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    wanted=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 99),
)
def test_each_pixel_is_the_mean_of_its_area_and_halves_round_up(given, wanted, seed):
    frame = np.random.default_rng(seed).integers(0, 256, given, np.uint8)
    high, wide = Fraction(given[0], wanted[0]), Fraction(given[1], wanted[1])
    expected = [
        [
            int(mean_of_area(frame, i * high, j * wide, high, wide) + Fraction(1, 2))
            for j in range(wanted[1])
        ]
        for i in range(wanted[0])
    ]
    assert resize_area(frame, wanted).tolist() == expected


@pytest.mark.parametrize("size", [(120, 160), (480, 640)])
def test_whole_factors_agree_with_torch(size):
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, *size), np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(frames).double(), size=(60, 80), mode="area"
    )
    assert (np.abs(resize_area(frames, (60, 80)) - expected.numpy()) <= 0.5).all()


def test_white_stays_white_at_any_size():
    frames = np.full((1, 1, 1080, 1920), 255, np.uint8)
    assert (resize_area(frames, (59, 83)) == 255).all()
