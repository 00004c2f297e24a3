"""Half-width feature maps."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from stdcf.layers.plans import device_kind
from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.saver import Saver


class Bf16(Saver):
    """bfloat16 autocast: maps and matrix products in 2 bytes a value, parameters in float32.

    Normalisation keeps its statistics in float32. bfloat16 has float32's range, so no loss scaling
    is needed; 8 bits of precision give each rounding a relative error of up to 2⁻⁸.
    """

    name = "bf16"
    gradients = "within bfloat16's rounding, a relative 2⁻⁸ an operation"

    def forward(
        self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing
    ) -> AbstractContextManager[object]:
        return torch.autocast(device_kind(clip_BCTHW), torch.bfloat16)
