"""How a clip, or any tensor, lies in memory."""

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


def is_dense(tensor: Tensor) -> bool:
    """Whether its values fill a stretch of memory, in any order of the axes."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
