"""How a clip lies in memory."""

import torch
from torch import Tensor


def is_channels_last(x_BCTHW: Tensor) -> bool:
    """Whether x lies so; of one channel its strides tell, as ``to(memory_format=…)`` sets them."""
    in_format = x_BCTHW.is_contiguous(memory_format=torch.channels_last_3d)
    one_channel = x_BCTHW.shape[1] == 1
    return in_format and x_BCTHW.stride(1) == 1 and (one_channel or not x_BCTHW.is_contiguous())


def layout_of(x_BCTHW: Tensor) -> torch.memory_format:
    """channels_last_3d or contiguous, for new tensors that should lie like x."""
    return torch.channels_last_3d if is_channels_last(x_BCTHW) else torch.contiguous_format
