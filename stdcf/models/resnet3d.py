"""ResNet-50 for video: each 3×3 convolution made 3×3×3, of any layer (§3.2)."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from stdcf.errors import UserError
from stdcf.models.dropout import ByteMaskDropout
from stdcf.models.inflate import Pretrained, load_imagenet
from stdcf.models.initialise import initialise

Conv = Callable[..., nn.Module]

# Of ResNet-50's four stages: channels within a block, blocks, spatial stride (He et al., 2016).
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
EXPANSION = 4


class Bottleneck3d(nn.Module):
    """ResNet's bottleneck 1×1 → 3×3 → 1×1 on clips, with a shortcut (He et al., 2016).

    The names within are those of the 2D block in torchvision and timm. The stride is in the 3×3, as
    in theirs, and in space alone.

    Args:
        width: channels between the 1×1 convolutions; the block gives `EXPANSION` times as many.
        kernel_times: how many frames the first 1×1 and the 3×3 convolution see. A 3×3 that sees
            more than one is built by `conv`; all others are nn.Conv3d.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        conv: Conv = nn.Conv3d,
        *,
        kernel_times: tuple[int, int] = (1, 3),
        stride: int = 1,
    ) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        t1, t2 = kernel_times
        self.conv1 = nn.Conv3d(in_channels, width, (t1, 1, 1), padding=(t1 // 2, 0, 0), bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = (conv if t2 > 1 else nn.Conv3d)(
            width,
            width,
            (t2, 3, 3),
            stride=(1, stride, stride),
            padding=(t2 // 2, 1, 1),
            bias=False,
        )
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.relu = nn.ReLU()
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1, (1, stride, stride), bias=False),
                nn.BatchNorm3d(out_channels),
            )

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, EXPANSION·width, T, H/stride, W/stride]."""
        y = self.relu(self.bn1(self.conv1(x_BCTHW)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = x_BCTHW if self.downsample is None else self.downsample(x_BCTHW)
        return self.relu(y + shortcut)


def bottleneck_stage(
    in_channels: int,
    width: int,
    kernel_times: Sequence[tuple[int, int]],
    conv: Conv = nn.Conv3d,
    *,
    stride: int = 1,
) -> nn.Sequential:
    """One bottleneck for each of `kernel_times`; the first has the stride."""
    stage = nn.Sequential()
    for i, times in enumerate(kernel_times):
        stage.append(
            Bottleneck3d(
                in_channels if i == 0 else EXPANSION * width,
                width,
                conv,
                kernel_times=times,
                stride=stride if i == 0 else 1,
            )
        )
    return stage


def last_norms(network: nn.Module) -> list[nn.Module]:
    """The last BatchNorm of each bottleneck."""
    return [module.bn3 for module in network.modules() if isinstance(module, Bottleneck3d)]


class ResNet3d50(nn.Module):
    """ResNet-50 with the 3×3 of each of its 16 bottlenecks made 3×3×3 and built by `conv` (§3.2.1).

    1×1 convolutions stay 1×1×1 and nothing strides in time. The paper's Table C with the layout is
    not public: with the stem's 7×7 left in space, M=6 and N=2 this comes within 4% of Table 3's
    GFLOPs, with "3d" within 2%. Its 18.5 M parameters fit no such network: the coefficients of the
    last stage's three layers alone are 9.4 M.

    Args:
        conv: the 3D convolution, with nn.Conv3d's constructor.
        stem: "2d" is a 1×7×7 convolution, "3d" a 3×7×7; both are nn.Conv3d and `set_dilation` skips
            them. "conv" is a 3×7×7 that `conv` builds and that is dilated with the others.
        dropout: probability before the classifier.
        pretrained: True for timm's ImageNet weights, or a file with them; inflated (see
            `stdcf.models.inflate`).
    """

    STEMS = ("2d", "3d", "conv")

    def __init__(
        self,
        conv: Conv = nn.Conv3d,
        num_classes: int = 400,
        in_channels: int = 3,
        stem: str = "2d",
        dropout: float = 0.0,
        pretrained: Pretrained = False,
    ) -> None:
        super().__init__()
        if stem not in self.STEMS:
            raise UserError(f"stem must be one of {', '.join(self.STEMS)}, not {stem!r}")
        self.dilation_skip = () if stem == "conv" else ("conv1",)
        time = 1 if stem == "2d" else 3
        self.conv1 = (conv if stem == "conv" else nn.Conv3d)(
            in_channels,
            64,
            (time, 7, 7),
            stride=(1, 2, 2),
            padding=(time // 2, 3, 3),
            bias=False,
        )
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        channels = 64
        for i, (width, blocks, stride) in enumerate(STAGES, start=1):
            stage = bottleneck_stage(channels, width, [(1, 3)] * blocks, conv, stride=stride)
            self.add_module(f"layer{i}", stage)
            channels = EXPANSION * width
        self.dropout = ByteMaskDropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, last_norms(self))
        if pretrained:
            load_imagenet(self, pretrained)

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any size -> [B, 2048, T, H/32, W/32], rounded up."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(clip_BCTHW))))
        for i in range(1, 1 + len(STAGES)):
            x = self.get_submodule(f"layer{i}")(x)
        return x

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any size -> [B, num_classes]."""
        return self.fc(self.dropout(self.forward_features(clip_BCTHW).mean((2, 3, 4))))
