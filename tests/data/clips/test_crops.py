"""Crops against Pillow's and torch's own, and against the sizes that they are drawn from."""

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from stdcf.data.clips.crops import Crops

# As Kinetics comes: 340×256. Its value tells its column.
RAMP = np.repeat((np.arange(340) * 0.75).astype(np.uint8)[None, :, None], 256, axis=0).repeat(3, 2)


def drawn_columns(crops: Crops, seed: int) -> tuple[float, float]:
    """The columns of RAMP that a drawn crop's first and last column show."""
    crop_TCHW = crops.draw([RAMP, RAMP], np.random.default_rng(seed))
    assert crop_TCHW.shape == (2, 3, crops.crop, crops.crop)
    row = crop_TCHW[0, 0, 0].numpy().astype(float) / 0.75
    return row[0], row[-1]


def test_the_short_side_is_drawn_between_its_bounds_and_the_place_everywhere():
    crops = Crops(flip=False)
    spans = [drawn_columns(crops, seed) for seed in range(300)]
    shown = np.array([right - left for left, right in spans])
    # 224 pixels of a frame scaled from 256 to s show 224·256/s of its columns.
    assert 224 * 256 / 320 - 4 < shown.min() < 224 * 256 / 312
    assert 224 * 256 / 264 < shown.max() < 224 + 2
    assert min(left for left, _ in spans) < 8
    assert max(right for _, right in spans) > 332


def test_half_of_the_clips_are_mirrored_and_none_without_flip():
    mirrored = [left > right for left, right in (drawn_columns(Crops(), n) for n in range(400))]
    assert 160 < sum(mirrored) < 240  # 200 ± 4 standard deviations
    plain = [drawn_columns(Crops(flip=False), n) for n in range(50)]
    assert all(left < right for left, right in plain)


def seen(crops: Crops, frame_HWC: np.ndarray) -> list[torch.Tensor]:
    return crops.views(crops.scaled(frame_HWC)[None])


def test_scaling_is_pillows_bilinear():
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    # A short side of 24 from 48: the whole frame halved, with one place for each view.
    crops = Crops(test_crop=24, test_short_side=24, test_crops=3)
    halved = np.asarray(Image.fromarray(frame).resize((32, 24), Image.Resampling.BILINEAR))
    for view_FCHW, left in zip(seen(crops, frame), (0, 4, 8), strict=True):
        expected = halved[:, left : left + 24].transpose(2, 0, 1)
        assert np.abs(view_FCHW[0].numpy().astype(int) - expected).max() <= 1


def test_three_crops_of_256_cover_the_frame_and_are_its_own_pixels():
    left, middle, right = seen(Crops(), RAMP)
    for view_FCHW, start in ((left, 0), (middle, 42), (right, 84)):
        expected = RAMP[:, start : start + 256].transpose(2, 0, 1)
        assert np.array_equal(view_FCHW[0].numpy(), expected)


def test_upright_frames_are_cropped_along_their_height():
    upright = np.ascontiguousarray(RAMP.transpose(1, 0, 2))
    views = seen(Crops(), upright)
    assert [int(view[0, 0, 0, 0]) for view in views] == [
        int(upright[top, 0, 0]) for top in (0, 42, 84)
    ]


def test_one_crop_is_the_centre():
    frame = np.zeros((256, 340, 3), np.uint8)
    frame[128, 170] = 255
    (view,) = seen(Crops(test_crop=224, test_crops=1), frame)
    assert view.shape == (1, 3, 224, 224)
    assert np.argwhere(view[0, 0].numpy() == 255).tolist() == [[112, 112]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"short_side": (200, 320)},  # a crop of 224 does not fit
        {"short_side": (320, 256)},
        {"test_crop": 300},
        {"test_crops": 0},
        {"mirror": True},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        Crops.model_validate(wrong)


SCALES = (1, 0.875, 0.75, 0.66)


def cut(crops: Crops, frame_HWC: np.ndarray, seed: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a drawn crop."""
    rng = np.random.default_rng(seed)
    return crops._place(*frame_HWC.shape[:2], rng)[:4]


def test_multi_scale_crops_are_tsms() -> None:
    """GroupMultiScaleCrop, written out for a frame of 340×256 and crops of 224."""
    sizes = [256, 224, 192, 168]  # of 256: 1, .875, .75 and .66 cut to whole pixels
    pairs = {(sizes[i], sizes[j]) for i in range(4) for j in range(4) if abs(i - j) <= 1}
    places = set()
    for height, width in pairs:
        h, w = (256 - height) // 4, (340 - width) // 4
        quarters = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
        quarters += [(0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]
        places |= {(y * h, x * w, height, width) for x, y in quarters}
    crops = Crops(multi_scale=SCALES, flip=False)
    drawn = [cut(crops, RAMP, seed) for seed in range(4000)]
    assert set(drawn) == places
    counts = np.array([drawn.count(place) for place in places if place[2:] == (224, 192)])
    # One pair of ten, one place of 13: 31 each, and none is rare.
    assert counts.min() > 10
    assert crops.draw([RAMP, RAMP], np.random.default_rng(0)).shape == (2, 3, 224, 224)


def test_a_multi_scale_crop_is_its_part_scaled() -> None:
    crops = Crops(multi_scale=(1, 0.5), flip=False, crop=32, short_side=(256, 320))
    frame = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    for seed in range(12):
        top, left, height, width = cut(crops, frame, seed)
        part = Image.fromarray(frame[top : top + height, left : left + width])
        expected = np.asarray(part.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        (seen_CHW,) = crops.draw([frame], np.random.default_rng(seed))
        assert np.abs(seen_CHW.numpy().astype(int) - expected).max() <= 1


def test_multi_scale_crops_are_mirrored_where_labels_allow_it() -> None:
    mirrored = [
        left > right
        for left, right in (drawn_columns(Crops(multi_scale=SCALES), n) for n in range(200))
    ]
    assert 70 < sum(mirrored) < 130  # 100 ± 4 standard deviations


def test_near_the_crops_size_nothing_is_scaled_and_nothing_reaches_outside() -> None:
    crops = Crops(multi_scale=(1,), flip=False)
    near = np.zeros((226, 300, 3), np.uint8)
    assert {cut(crops, near, seed)[2:] for seed in range(20)} == {(224, 224)}
    small = np.zeros((222, 300, 3), np.uint8)
    assert {cut(crops, small, seed)[2:] for seed in range(20)} == {(222, 222)}


@pytest.mark.parametrize("wrong", [{"multi_scale": (0,)}, {"multi_scale": (1.5,)}])
def test_parts_of_the_side_lie_in_it(wrong):
    with pytest.raises(ValidationError):
        Crops.model_validate(wrong)


def test_two_ways_to_draw_a_size_are_refused():
    with pytest.raises(ValidationError, match="leave short_side out"):
        Crops(multi_scale=SCALES, short_side=(240, 320))
