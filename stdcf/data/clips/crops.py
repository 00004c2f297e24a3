"""Which square of each frame is seen: random ones in training, evenly spread ones in testing."""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor

SHORT_SIDE = (256, 320)
# Of the crops of `multi_scale`, in quarters of the room that is left: corners, middle, middles of
# the sides, and between them.
_PLACES = (
    *((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)),
    *((2, 0), (2, 4), (4, 2), (0, 2)),
    *((1, 1), (1, 3), (3, 1), (3, 3)),
)
# As near as this to the crop's side, nothing is scaled.
_NEAR = 3


class Crops(BaseModel):
    """Sizes in pixels; the defaults are those of Kinetics (§3.2.1).

    Attributes:
        crop: side of the square that is trained on.
        short_side: least and greatest length to which a frame's shorter side is scaled before.
        multi_scale: instead, parts of the frame's shorter side of which height and width of the
            crop are drawn, neighbours at most, at one of 13 places, before it is scaled to the
            square (Wang et al., 2016; so TRN, TSM and TIN, with 1, .875, .75 and .66).
        flip: mirror half of the training clips.
        test_crop: side of the squares that are tested on.
        test_short_side: length to which a frame's shorter side is scaled before.
        test_crops: squares along the longer side; 1 is the middle one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: PositiveInt = 224
    short_side: tuple[PositiveInt, PositiveInt] = SHORT_SIDE
    multi_scale: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    flip: bool = True
    test_crop: PositiveInt = 256
    test_short_side: PositiveInt = 256
    test_crops: Annotated[int, Field(ge=1, le=9)] = 3

    @model_validator(mode="after")
    def _squares_fit(self) -> "Crops":
        low, high = self.short_side
        if not self.crop <= low <= high:
            raise ValueError(
                f"short_side must ascend and be at least crop {self.crop}, not {self.short_side}"
            )
        if self.multi_scale and self.short_side != SHORT_SIDE:
            raise ValueError(
                "multi_scale draws parts of the frame's own shorter side: leave short_side out"
            )
        if self.test_crop > self.test_short_side:
            raise ValueError(
                f"test_crop {self.test_crop} is larger than test_short_side {self.test_short_side}"
            )
        return self

    def draw(self, frames: Sequence[np.ndarray], rng: np.random.Generator) -> Tensor:
        """A random training crop of a clip: T frames uint8 [H, W, C] -> [T, C, crop, crop]."""
        crop = self.drawn(rng)
        return torch.stack([crop(frame) for frame in frames])

    def drawn(self, rng: np.random.Generator) -> Callable[[np.ndarray], Tensor]:
        """The same random crop of each frame of a clip: uint8 [H, W, C] -> [C, crop, crop].

        It is cut first and then scaled, which spares scaling the rest of the frame. It is
        drawn for the size of the first frame that comes; nothing of a frame is kept.
        """
        place: list[tuple[int, int, int, int, int]] = []

        def crop(frame_HWC: np.ndarray) -> Tensor:
            if not place:
                height, width = frame_HWC.shape[:2]
                place.append(self._place(height, width, rng))
            top, left, height, width, step = place[0]
            part = frame_HWC[top : top + height, left : left + width][:, ::step]
            return _scaled(part, (self.crop, self.crop))

        return crop

    def _place(
        self, height: int, width: int, rng: np.random.Generator
    ) -> tuple[int, int, int, int, int]:
        """Top, left, height, width and direction (-1: mirrored) of a random crop of a frame."""
        short = min(height, width)
        if self.multi_scale:
            sizes = [max(int(short * part), 1) for part in self.multi_scale]
            sizes = [self.crop if abs(size - self.crop) < _NEAR else size for size in sizes]
            sizes = [min(size, short) for size in sizes]
            pairs = [
                (h, w) for i, h in enumerate(sizes) for j, w in enumerate(sizes) if abs(i - j) <= 1
            ]
            own_height, own_width = pairs[rng.integers(len(pairs))]
            down, right = _PLACES[rng.integers(len(_PLACES))]
            top = down * ((height - own_height) // 4)
            left = right * ((width - own_width) // 4)
        else:
            low, high = self.short_side
            scaled_short = rng.integers(low, high + 1)
            own_height = own_width = max(round(self.crop * short / scaled_short), 1)
            top = int(rng.integers(0, height - own_height + 1))
            left = int(rng.integers(0, width - own_width + 1))
        step = -1 if self.flip and rng.random() < 0.5 else 1
        return top, left, own_height, own_width, step

    def scaled(self, frame_HWC: np.ndarray) -> Tensor:
        """A frame uint8 [H, W, C] whose shorter side is `test_short_side`: [C, h, w], a copy."""
        height, width = frame_HWC.shape[:2]
        scale = self.test_short_side / min(height, width)
        return _scaled(frame_HWC, (round(height * scale), round(width * scale)))

    def views(self, scaled_FCHW: Tensor) -> list[Tensor]:
        """The test crops of frames made by `scaled`: `test_crops` of [F, C, side, side]."""
        side = self.test_crop
        tops, lefts = (self._offsets(length - side) for length in scaled_FCHW.shape[2:])
        return [
            scaled_FCHW[:, :, top : top + side, left : left + side]
            for top, left in zip(tops, lefts, strict=True)
        ]

    def _offsets(self, room: int) -> list[int]:
        """Where the squares begin along a side with this much room; the shorter side's are equal.

        Only the longer side has more room than what the scaled short side leaves.
        """
        if self.test_crops == 1 or room <= self.test_short_side - self.test_crop:
            return [room // 2] * self.test_crops
        return [round(place) for place in np.linspace(0, room, self.test_crops)]


def _scaled(frame_HWC: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Bilinear, with antialiasing where it shrinks: uint8 [H, W, C] -> [C, *size], a copy."""
    frame_1CHW = torch.from_numpy(np.array(frame_HWC, order="C")).permute(2, 0, 1)[None]
    if frame_1CHW.shape[2:] == size:
        return frame_1CHW[0]
    return F.interpolate(frame_1CHW, size, mode="bilinear", antialias=True)[0]
