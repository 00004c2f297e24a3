"""Initialisation of spatial atoms, temporal atoms and coefficients."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import init


def kaiming_(spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor) -> None:
    """Atoms ~ N(0, 1); the composed filter gets the variance of nn.Conv3d's weight.

    The paper does not state its initialisation. nn.Conv3d draws its weight with variance
    1 / (3·fan_in) (Kaiming's uniform bound with a = √5), fan_in = C_in/groups · kT·kH·kW. The atoms
    are drawn first and the coefficients' variance is divided by the sum of the drawn atoms' mean
    squares, so the match holds for each draw and not only on average.
    """
    init.normal_(spatial_MHW)
    init.normal_(temporal_NT)
    fan_in = coefficients_OCX.shape[1] * spatial_MHW[0].numel() * temporal_NT[0].numel()
    energy = spatial_MHW.square().mean((1, 2)).sum() * temporal_NT.square().mean(1).sum()
    init.normal_(coefficients_OCX)
    # Scaled by a tensor: reading its value would fail on fake tensors and wait for a GPU.
    with torch.no_grad():
        coefficients_OCX.mul_((3 * fan_in * energy).rsqrt())


def normal_(spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor) -> None:
    """DCFNet's draw for trainable atoms: atoms ~ N(0, 1), coefficients ~ N(0, 1 / (C_in·M·N))."""
    init.normal_(spatial_MHW)
    init.normal_(temporal_NT)
    init.normal_(coefficients_OCX, std=1 / math.sqrt(coefficients_OCX[0].numel()))


INITS: dict[str, Callable[[Tensor, Tensor, Tensor], None]] = {
    "kaiming": kaiming_,
    "normal": normal_,
}


def reset_bias_(bias: Tensor, fan_in: int) -> None:
    """nn.Conv3d's draw: uniform within 1/√fan_in."""
    if fan_in > 0:
        with torch.no_grad():
            init.uniform_(bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
