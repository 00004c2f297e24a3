"""How numbers are held while training: device, type and memory layout."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stdcf.data.clips.transforms import EQUAL, Pixels, resize_space, stride_time, to_float
from stdcf.stages.apply import to_channels_last
from stdcf.stages.stage import Stage


@dataclass(frozen=True)
class Numerics:
    """Device, autocast and memory layout of a run.

    Attributes:
        device: "cpu" or "cuda:0".
        amp: bfloat16 autocast; parameters and optimiser stay in float32.
        channels_last: channels_last_3d, the faster layout for float32 on CPU.
        pixels: with which clips are normalised.
    """

    device: torch.device
    amp: bool = False
    channels_last: bool = True
    pixels: Pixels = EQUAL

    def autocast(self) -> AbstractContextManager:
        """bfloat16 autocast if the run asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp)

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, in the run's layout."""
        model = model.to(self.device)
        return to_channels_last(model) if self.channels_last else model

    def prepare(self, clip_BCTHW: Tensor, stage: Stage | None = None) -> Tensor:
        """uint8 clips as a stage's normalised float32 input; full size without a stage."""
        if stage is not None:
            clip_BCTHW = stride_time(clip_BCTHW, stage.temporal_stride)
        clip_BCTHW = clip_BCTHW.to(self.device, non_blocking=True)
        x_BCTHW = to_float(clip_BCTHW, pixels=self.pixels)
        if stage is not None:
            x_BCTHW = resize_space(x_BCTHW, stage.spatial_scale)
        layout = torch.channels_last_3d if self.channels_last else torch.contiguous_format
        # Not contiguous(): it leaves the strides of one channel, which say nothing of a layout.
        return x_BCTHW.to(memory_format=layout)
