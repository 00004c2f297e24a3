"""From stored clips to what a stage trains on: half size, half time, normalised floats."""

import torch
import torch.nn.functional as F
from torch import Tensor

# One pair for every channel and data set, so that a gray and an RGB run differ in nothing else.
PIXEL_MEAN = 0.45
PIXEL_STD = 0.225


def to_float(clip_BCTHW: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 clips to floats: (x/255 - PIXEL_MEAN) / PIXEL_STD."""
    return clip_BCTHW.to(dtype).sub_(255 * PIXEL_MEAN).div_(255 * PIXEL_STD)


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
