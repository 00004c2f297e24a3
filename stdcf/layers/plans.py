"""Ways to execute an STDCF convolution; all give the same output and gradients."""

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from stdcf.layers.padding import pad_input, pad_sides

if TYPE_CHECKING:
    from stdcf.layers.stdcf_conv import STDCFConv3d


def composed(layer: "STDCFConv3d", x_BCTHW: Tensor) -> Tensor:
    """Composes the dense filter and runs one convolution: what Table 2's memory implies."""
    sides = pad_sides(layer.padding, layer.kernel_size, layer.dilation)
    x_BCTHW, padding = pad_input(x_BCTHW, sides, layer.padding_mode)
    return F.conv3d(
        x_BCTHW,
        layer.compose_weight(),
        layer.bias,
        layer.stride,
        padding,
        layer.dilation,
        layer.groups,
    )


def factored(layer: "STDCFConv3d", x_BCTHW: Tensor) -> Tensor:
    """Equation 1 as three convolutions: spatial atoms, temporal atoms, joint coefficients.

    Intermediate maps have M·C_in and then M·N·C_in channels, channel (c·M + i)·N + j being input
    channel c seen through spatial atom i and temporal atom j.
    """
    m, n = layer.num_spatial_atoms, layer.num_temporal_atoms
    c = layer.in_channels
    (k_t, k_h, k_w), (s_t, s_h, s_w), (d_t, d_h, d_w) = (
        layer.kernel_size,
        layer.stride,
        layer.dilation,
    )
    sides = pad_sides(layer.padding, layer.kernel_size, layer.dilation)
    x_BCTHW, (p_t, p_h, p_w) = pad_input(x_BCTHW, sides, layer.padding_mode)

    spatial = layer.spatial_atoms.view(1, m, 1, 1, k_h, k_w).expand(c, m, 1, 1, k_h, k_w)
    temporal = layer.temporal_atoms.view(1, n, 1, k_t, 1, 1).expand(c * m, n, 1, k_t, 1, 1)
    z = F.conv3d(
        x_BCTHW,
        spatial.reshape(c * m, 1, 1, k_h, k_w),
        None,
        (1, s_h, s_w),
        (0, p_h, p_w),
        (1, d_h, d_w),
        groups=c,
    )
    y = F.conv3d(
        z,
        temporal.reshape(c * m * n, 1, k_t, 1, 1),
        None,
        (s_t, 1, 1),
        (p_t, 0, 0),
        (d_t, 1, 1),
        groups=c * m,
    )
    mixing = layer.coefficients.reshape(layer.out_channels, -1, 1, 1, 1)
    return F.conv3d(y, mixing, layer.bias, groups=layer.groups)


PLANS = {"composed": composed, "factored": factored}
