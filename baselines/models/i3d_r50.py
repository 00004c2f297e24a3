"""Inflated ResNet-50 (Wang et al., CVPR 2018; Wang and Gupta, ECCV 2018)."""

from collections.abc import Callable

from torch import Tensor, nn

from baselines.models.non_local import NonLocalBlock
from stdcf.errors import UserError
from stdcf.models.dropout import ByteMaskDropout
from stdcf.models.inflate import Pretrained, load_imagenet
from stdcf.models.initialise import initialise
from stdcf.models.resnet3d import EXPANSION, STAGES, bottleneck_stage, last_norms

Conv = Callable[..., nn.Module]

# Which bottlenecks are inflated: all of the first stage, then every other one.
INFLATED = ((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0))
# Frames that an inflated bottleneck's first 1×1 and its 3×3 see.
KERNEL_TIMES = {"3x1x1": (3, 1), "3x3x3": (1, 3)}
# After which bottlenecks of the second and third stage non-local blocks stand.
NON_LOCAL = {0: (), 5: (1, 3, 5), 10: (0, 1, 2, 3, 4, 5)}


class I3D(nn.Module):
    """ResNet-50 with a 5×7×7 stem and one convolution of every other bottleneck inflated.

    For 32 frames: the stem and the pool after it stride in space alone, a 2×1×1 pool halves time
    after the first stage, and the last stage does not stride, so 16×14×14 positions come out of
    32×224² (Wang and Gupta). With `last_stride` 2 it is PySlowFast's I3D, 16×7×7. The Non-local
    paper's 32-frame network also strides time in the stem and the pool after it (4×7×7); that is
    not built here.

    Args:
        conv: builds what sees space and time: the stem, and with "3x3x3" the inflated bottlenecks'
            middle convolutions.
        inflate: "3x1x1" inflates their first 1×1 convolution, "3x3x3" their 3×3.
        non_local: 0, 5 (after every other bottleneck of stages 2 and 3) or 10 blocks (after all).
        last_stride: of the last stage, 1 or 2.
        dropout: probability before the classifier.
        pretrained: True for timm's ImageNet weights, or a file with them; inflated.
    """

    def __init__(
        self,
        conv: Conv = nn.Conv3d,
        num_classes: int = 400,
        in_channels: int = 3,
        inflate: str = "3x1x1",
        non_local: int = 0,
        last_stride: int = 1,
        dropout: float = 0.5,
        pretrained: Pretrained = False,
    ) -> None:
        super().__init__()
        for option, value, valid in (
            ("inflate", inflate, KERNEL_TIMES),
            ("non_local", non_local, NON_LOCAL),
            ("last_stride", last_stride, (1, 2)),
        ):
            if value not in valid:
                raise UserError(
                    f"{option} must be one of {', '.join(map(str, valid))}, not {value!r}"
                )
        self.conv1 = conv(
            in_channels, 64, (5, 7, 7), stride=(1, 2, 2), padding=(2, 3, 3), bias=False
        )
        self.bn1 = nn.BatchNorm3d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.pool2 = nn.MaxPool3d((2, 1, 1), ceil_mode=True)
        self.non_local = nn.ModuleDict()
        channels = 64
        for i, ((width, _, stride), inflated) in enumerate(
            zip(STAGES, INFLATED, strict=True), start=1
        ):
            times = [KERNEL_TIMES[inflate] if yes else (1, 1) for yes in inflated]
            stage = bottleneck_stage(
                channels, width, times, conv, stride=last_stride if i == 4 else stride
            )
            self.add_module(f"layer{i}", stage)
            channels = EXPANSION * width
            if i in (2, 3):
                for block in NON_LOCAL[non_local]:
                    if block < len(stage):
                        self.non_local[f"{i}_{block}"] = NonLocalBlock(channels)
        self.dropout = ByteMaskDropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, last_norms(self), skip=[self.non_local])
        if pretrained:
            load_imagenet(self, pretrained)

    def forward_features(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any size -> [B, 2048, T/2, H/16, W/16], rounded up."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(clip_BCTHW))))
        for i in range(1, 1 + len(STAGES)):
            for j, block in enumerate(self.get_submodule(f"layer{i}").children()):
                x = block(x)
                if f"{i}_{j}" in self.non_local:
                    x = self.non_local[f"{i}_{j}"](x)
            if i == 1:
                x = self.pool2(x)
        return x

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any size -> [B, num_classes]."""
        return self.fc(self.dropout(self.forward_features(clip_BCTHW).mean((2, 3, 4))))
