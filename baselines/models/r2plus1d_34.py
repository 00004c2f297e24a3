"""R(2+1)D with 34 layers (Tran et al., CVPR 2018)."""

from collections.abc import Callable

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, VideoResNet

from stdcf.layers.dilation import dilate_conv3d
from stdcf.models.dropout import ByteMaskDropout
from stdcf.models.initialise import draw_filter, initialise

Conv = Callable[..., nn.Module]

# One block a stage and its strides are VideoResNet's own.
_BLOCKS = [3, 4, 6, 3]
_STEM = 64
_EPS = 1e-3


def middle_channels(in_channels: int, out_channels: int, time: int, size: int) -> int:
    """How many make a time×size×size convolution in two parts as large as in one (§3.5, M_i)."""
    return (time * size**2 * in_channels * out_channels) // (
        size**2 * in_channels + time * out_channels
    )


class FactoredConv(Conv2Plus1D):
    """A 1×3×3 and a 3×1×1 convolution with BatchNorm and ReLU between them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        middle = middle_channels(in_channels, out_channels, 3, 3)
        super().__init__(in_channels, out_channels, middle, stride)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """The first convolution is spatial, the second temporal; nothing is joint."""
        return {"spatial": [self[0].weight], "temporal": [self[3].weight], "joint": []}

    def reset_by_fan_out(self) -> None:
        """Draws each of the two by its own fan_out, for a ReLU stands between them."""
        draw_filter(self[0])
        draw_filter(self[3])

    def set_dilation(self, temporal: int, spatial: int) -> None:
        """Dilates each of the two in its own axes; output sizes stay."""
        dilate_conv3d(self[0], (1, spatial, spatial))
        dilate_conv3d(self[3], (temporal, 1, 1))


class _Builder:
    """How torchvision's blocks ask for their convolutions."""

    def __init__(self, conv: Conv | None) -> None:
        self.conv = conv

    def __call__(self, c_in: int, c_out: int, midplanes: int, stride: int = 1) -> nn.Module:
        # Not torchvision's midplanes: it takes a block's first convolution's for its second too.
        if self.conv is None:
            return FactoredConv(c_in, c_out, stride)
        return self.conv(c_in, c_out, 3, stride=stride, padding=1, bias=False)

    def get_downsample_stride(self, stride: int) -> tuple[int, int, int]:
        return stride, stride, stride


def _stem(in_channels: int, conv: Conv | None) -> nn.Sequential:
    middle = middle_channels(3, _STEM, 3, 7)
    if conv is None:
        layers: list[nn.Module] = [
            nn.Conv3d(in_channels, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            nn.Conv3d(middle, _STEM, (3, 1, 1), padding=(1, 0, 0), bias=False),
        ]
    else:
        layers = [
            conv(in_channels, _STEM, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        ]
    return nn.Sequential(
        *layers,
        nn.BatchNorm3d(_STEM),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )


class R2Plus1d34(VideoResNet):
    """ResNet-34 in which each 3×3×3 convolution is a 1×3×3 and a 3×1×1 with a ReLU between.

    Their middle width keeps the 3×3×3's number of parameters. The last three stages halve time and
    space. A pool over 1×3×3 follows the stem: the paper's network for 112² has none (and takes
    200.7 GMAC at 8×256²), but the 53.2 G that Table 3 compares with are for this layout, the one of
    the public code for 8×8 clips. Blocks and head are torchvision's; BatchNorms add 1e-3 to the
    variance, as in the authors' code (torchvision: 1e-5).

    Args:
        conv: None is R(2+1)D; anything else builds each of its 3×3×3 convolutions, and a 3×7×7
            stem, whole: nn.Conv3d gives R3D-34.
        dropout: probability before the classifier.
    """

    def __init__(
        self,
        conv: Conv | None = None,
        num_classes: int = 400,
        in_channels: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            BasicBlock,
            [_Builder(conv)] * 4,
            _BLOCKS,
            lambda: _stem(in_channels, conv),
            num_classes,
        )
        self.avgpool = nn.Sequential(nn.AdaptiveAvgPool3d(1), ByteMaskDropout(dropout))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eps = _EPS
        blocks = (module for module in self.modules() if isinstance(module, BasicBlock))
        initialise(self, [block.conv2[1] for block in blocks])
