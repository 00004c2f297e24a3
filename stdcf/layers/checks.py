"""Refuses inputs that nn.Conv3d refuses, in the same words whichever plan runs."""

import torch
from torch import Tensor

from stdcf.layers.padding import Triple, extent


def check_size(
    x_BCTHW: Tensor, channels: int, kernel_size: Triple, padding: Triple, dilation: Triple
) -> None:
    """Takes what a convolution with zero padding can take.

    Raises:
        RuntimeError: for another number of axes or channels, or an input smaller than the filter.
    """
    if torch.jit.is_tracing():
        # Sizes are not numbers there.
        return
    shape = list(x_BCTHW.shape)
    if x_BCTHW.ndim != 5:
        raise RuntimeError(f"expected an input [C, T, H, W] or [B, C, T, H, W], not {shape}")
    if shape[1] != channels:
        raise RuntimeError(f"expected an input of {channels} channels, not {shape[1]}: {shape}")
    reach = extent(kernel_size, dilation)
    if any(n + 2 * p <= e for n, p, e in zip(shape[2:], padding, reach, strict=True)):
        raise RuntimeError(
            f"the filter reaches over {tuple(1 + e for e in reach)}, more than there is: "
            f"an input of {shape[2:]} with padding {padding}"
        )


def check_type(x: Tensor, coefficients: Tensor, bias: Tensor | None) -> None:
    """Takes one type throughout, or any where an autocast decides.

    Raises:
        RuntimeError: for an input or a bias of another type than the coefficients.
    """
    if any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")):
        return
    expected = coefficients.dtype
    for name, tensor in (("input", x), ("bias", bias)):
        if tensor is not None and tensor.dtype != expected:
            raise RuntimeError(
                f"the {name} is {tensor.dtype} and the coefficients are {expected}; "
                "cast the input or the layer"
            )
