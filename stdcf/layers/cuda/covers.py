"""What the GPU's kernel takes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stdcf.layers.composed import Parameters

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_LARGEST_KERNEL = (5, 7, 7)


def covers(
    x_BCTHW: Tensor, dtype: torch.dtype, parameters: Parameters, padding: Sequence[int]
) -> bool:
    """Whether the kernel takes a call that computes in `dtype`."""
    coefficients, spatial, temporal = parameters
    size = (temporal.shape[1], *spatial.shape[1:])
    # Within a clip, offsets have 32 bits.
    t, h, w = (n + 2 * p for n, p in zip(x_BCTHW.shape[2:], padding, strict=True))
    clip = max(x_BCTHW.shape[1], coefficients.shape[0]) * t * h * w
    small = all(k <= most for k, most in zip(size, _LARGEST_KERNEL, strict=True))
    return dtype in DTYPES and small and clip < 2**31
