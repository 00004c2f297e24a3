"""From stored clips to what a stage trains on: half size, half time, normalised floats."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# One pair for every channel and data set, so that a gray and an RGB run differ in nothing else.
PIXEL_MEAN = 0.45
PIXEL_STD = 0.225


@dataclass(frozen=True)
class Pixels:
    """Mean and standard deviation of pixels in [0, 1]: one for all channels, or one for each."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


EQUAL = Pixels((PIXEL_MEAN,), (PIXEL_STD,))
# Those with which timm's and torchvision's weights were trained.
IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def to_float(
    clip_BCTHW: Tensor, dtype: torch.dtype = torch.float32, pixels: Pixels = EQUAL
) -> Tensor:
    """uint8 clips to floats: (x/255 - mean) / std."""
    x_BCTHW = clip_BCTHW.to(dtype)
    if len(pixels.mean) == 1:
        return x_BCTHW.sub_(255 * pixels.mean[0]).div_(255 * pixels.std[0])
    mean_C111, std_C111 = (
        torch.tensor([255 * value for value in values], dtype=dtype, device=x_BCTHW.device).view(
            -1, 1, 1, 1
        )
        for values in (pixels.mean, pixels.std)
    )
    return x_BCTHW.sub_(mean_C111).div_(std_C111)


def resize_space(clip_BCTHW: Tensor, scale: float) -> Tensor:
    """Area interpolation of every frame to scale times its height and width (rounded to pixels)."""
    if scale == 1:
        return clip_BCTHW
    batch, channels, frames, height, width = clip_BCTHW.shape
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    flat = clip_BCTHW.reshape(batch, channels * frames, height, width)
    return F.interpolate(flat, size=size, mode="area").reshape(batch, channels, frames, *size)


def stride_time(clip_BCTHW: Tensor, stride: int) -> Tensor:
    """Frames 0, stride, 2*stride, …"""
    return clip_BCTHW if stride == 1 else clip_BCTHW[:, :, ::stride]


def change_tempo(clip_BCTHW: Tensor, tempo: float) -> Tensor:
    """The clip played `tempo` times as fast: what is seen at frame 0, tempo, 2·tempo, …

    Between two frames they are mixed linearly, and the last one stays; floats, unless tempo is
    whole. A clip of T frames becomes one of ⌈T / tempo⌉, the same time of the scene.

    Raises:
        ValueError: if tempo is not above 0.
    """
    if tempo <= 0:
        raise ValueError(f"tempo must be above 0, not {tempo}")
    if tempo == int(tempo):
        return stride_time(clip_BCTHW, int(tempo))
    frames = clip_BCTHW.shape[2]
    times = torch.arange(math.ceil(frames / tempo), dtype=torch.float64) * tempo
    before = times.long()
    after = (before + 1).clamp(max=frames - 1)
    weight = (times - before).to(clip_BCTHW).view(-1, 1, 1)
    return torch.lerp(clip_BCTHW[:, :, before], clip_BCTHW[:, :, after], weight)
