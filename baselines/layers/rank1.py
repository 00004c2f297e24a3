"""The rank-1, or (2+1)D, decomposition of a 3D convolution."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stdcf.layers.dilation import dilate_conv3d, dilated_padding
from stdcf.layers.padding import triple
from stdcf.models.initialise import draw_filter


class _TemporalConv3d(nn.Conv3d):
    """nn.Conv3d with a t×1×1 filter and strides in time alone, by oneDNN on one thread as well.

    For filters that are 1 wide, one thread and fewer than 16 clips, ATen (`use_mkldnn` in its
    Convolution.cpp) takes `slow_conv3d`, at two to three times the time. The same filter over
    [T, H·W] is a 2D convolution, which it gives to oneDNN.
    """

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.device.type != "cpu" or x.dim() != 5 or self.padding_mode != "zeros":
            return super()._conv_forward(x, weight, bias)
        height, width = x.shape[3:]
        padding = self.padding if isinstance(self.padding, str) else (self.padding[0], 0)
        stride, dilation = (self.stride[0], 1), (self.dilation[0], 1)
        y = functional.conv2d(
            x.flatten(3), weight.squeeze(-1), bias, stride, padding, dilation, self.groups
        )
        return y.unflatten(3, (height, width))


class Rank1Conv3d(nn.Module):
    """W_s, a 1×k×k convolution C_in → C_out, then W_t, a t×1×1 convolution C_out → C_out (§2.1.1).

    Takes nn.Conv3d's arguments. Nothing stands between the two, and both have a bias: the reading
    of the paper that gives Table 2's memory. (R(2+1)D by Tran et al. puts BatchNorm and ReLU
    between them and widens the middle; that one is a model of its own.)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        k_t, k_h, k_w = triple(kernel_size, "kernel_size")
        s_t, s_h, s_w = triple(stride, "stride")
        d_t, d_h, d_w = triple(dilation, "dilation")
        spatial_padding: str | tuple[int, int, int]
        temporal_padding: str | tuple[int, int, int]
        if isinstance(padding, str):
            spatial_padding = temporal_padding = padding
        else:
            p_t, p_h, p_w = triple(padding, "padding", 0)
            spatial_padding, temporal_padding = (0, p_h, p_w), (p_t, 0, 0)
        self.spatial = nn.Conv3d(
            in_channels,
            out_channels,
            (1, k_h, k_w),
            (1, s_h, s_w),
            spatial_padding,
            (1, d_h, d_w),
            groups,
            bias,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )
        self.temporal = _TemporalConv3d(
            out_channels,
            out_channels,
            (k_t, 1, 1),
            (s_t, 1, 1),
            temporal_padding,
            (d_t, 1, 1),
            groups,
            bias,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C_in, T, H, W] -> [B, C_out, T', H', W']."""
        return self.temporal(self.spatial(x_BCTHW))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """W_s is spatial, W_t temporal; nothing is joint."""
        return {
            "spatial": [self.spatial.weight],  # type: ignore[list-item]
            "temporal": [self.temporal.weight],  # type: ignore[list-item]
            "joint": [],
        }

    def reset_by_fan_out(self) -> None:
        """Draws both filters anew; their product gets the variance 2 / fan_out, biases are 0.

        W_s has that variance of its own fan_out. W_t has half of it, for no ReLU stands between.
        """
        in_group, k_t = self.temporal.weight.shape[1:3]
        draw_filter(self.spatial)
        draw_filter(self.temporal)
        # Normal with variance 1 / (k_t · channels that are summed).
        nn.init.normal_(self.temporal.weight, std=(k_t * in_group) ** -0.5)

    def inflate(self, weight_OCHW: Tensor) -> None:
        """Starts from a 2D filter: it becomes W_s, and W_t the mean over time of each channel."""
        out, in_group, k_t = self.temporal.weight.shape[:3]
        same = torch.eye(in_group).repeat(out // in_group, 1).view(out, in_group, 1, 1, 1)
        with torch.no_grad():
            self.spatial.weight.copy_(weight_OCHW.unsqueeze(2))
            self.temporal.weight.copy_(same / k_t)
            for bias in (self.spatial.bias, self.temporal.bias):
                if bias is not None:
                    bias.zero_()

    def set_dilation(self, temporal: int = 1, spatial: int = 1) -> None:
        """Dilates W_t in time and W_s in space; padding follows, so output sizes stay.

        Raises:
            ValueError: if no whole padding does that; nothing is changed then.
        """
        # Asked before the first is changed: a refusal by the second leaves both as they were.
        dilated_padding(self.temporal, (temporal, 1, 1))
        dilate_conv3d(self.spatial, (1, spatial, spatial))
        dilate_conv3d(self.temporal, (temporal, 1, 1))
