import pytest
import torch

from stdcf.data.clips.transforms import (
    PIXEL_MEAN,
    PIXEL_STD,
    change_tempo,
    resize_space,
    stride_time,
    to_float,
)


def test_floats_are_normalised_by_fixed_numbers():
    clip = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 3, 1, 1)
    expected = [(value - PIXEL_MEAN) / PIXEL_STD for value in (0.0, 0.2, 1.0)]
    assert to_float(clip).flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert to_float(clip).dtype == torch.float32
    assert clip.flatten().tolist() == [0, 51, 255]


def test_half_size_is_the_mean_of_four_pixels():
    clip = torch.randn(2, 3, 4, 6, 8)
    half = resize_space(clip, 0.5)
    assert half.shape == (2, 3, 4, 3, 4)
    four = clip.reshape(2, 3, 4, 3, 2, 4, 2).mean((4, 6))
    torch.testing.assert_close(half, four)
    assert resize_space(clip, 1) is clip


def test_half_time_is_every_second_frame():
    clip = torch.arange(7.0).reshape(1, 1, 7, 1, 1)
    assert stride_time(clip, 2).flatten().tolist() == [0, 2, 4, 6]
    assert stride_time(clip, 1) is clip


def test_tempo_keeps_the_time_of_the_scene():
    clip = torch.arange(5.0).reshape(1, 1, 5, 1, 1)
    assert change_tempo(clip, 2).flatten().tolist() == [0, 2, 4]
    # Linear between frames; after the last one it stays.
    assert change_tempo(clip, 0.5).flatten().tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4]
    assert change_tempo(clip, 1.5).flatten().tolist() == [0, 1.5, 3, 4]
    assert change_tempo(clip, 1) is clip
    whole = torch.randint(0, 255, (1, 1, 5, 2, 2), dtype=torch.uint8)
    assert torch.equal(change_tempo(whole, 4), whole[:, :, ::4])
    with pytest.raises(ValueError, match="tempo must be above 0, not 0"):
        change_tempo(clip, 0)
