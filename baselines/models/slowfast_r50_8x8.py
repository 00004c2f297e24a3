"""SlowFast 8×8 (Feichtenhofer et al., ICCV 2019) on ResNet-50."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from stdcf.models.dropout import ByteMaskDropout
from stdcf.models.initialise import initialise
from stdcf.models.resnet3d import EXPANSION, STAGES, bottleneck_stage, last_norms

Conv = Callable[..., nn.Module]

ALPHA = 4  # the fast pathway's frames for one of the slow pathway's
BETA = 8  # the slow pathway's channels for one of the fast pathway's
# Of each stage: how many frames a bottleneck's first convolution sees.
SLOW_TIMES = (1, 1, 3, 3)
FAST_TIMES = (3, 3, 3, 3)
LATERAL_TIME = 7


def lateral(channels: int) -> nn.Sequential:
    """From fast to slow: a 7×1×1 convolution with stride ALPHA in time and twice the channels."""
    return nn.Sequential(
        nn.Conv3d(
            channels,
            2 * channels,
            (LATERAL_TIME, 1, 1),
            stride=(ALPHA, 1, 1),
            padding=(LATERAL_TIME // 2, 0, 0),
            bias=False,
        ),
        nn.BatchNorm3d(2 * channels),
        nn.ReLU(),
    )


def stem(in_channels: int, channels: int, time: int, conv: Conv) -> nn.Sequential:
    """A time×7×7 convolution and a pool over 3×3, both with stride 2 in space alone."""
    return nn.Sequential(
        conv(
            in_channels,
            channels,
            (time, 7, 7),
            stride=(1, 2, 2),
            padding=(time // 2, 3, 3),
            bias=False,
        ),
        nn.BatchNorm3d(channels),
        nn.ReLU(),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )


class SlowFast(nn.Module):
    """Two ResNet-50s: every 4th frame at full width, and all frames at 1/8 of the width.

    Slow: 3×1×1 in the bottlenecks' first convolutions in the last two stages. Fast: in all stages,
    and a 5×7×7 stem. After the pool and the first three stages the fast pathway's features, strided
    in time by a convolution, join the slow one's channels. The layout is the paper's Table 1 with
    T=8, τ=8, α=4, β=1/8; the lateral kernel of 7 frames is its authors' setting for 8×8. The slow
    pathway's frames are 0, 4, …, 28 of 32, evenly τ apart as in the paper; the authors' code takes
    0, 4, 8, 13, 17, 22, 26, 31 (`linspace(0, 31, 8)`, cut to whole numbers). Trained from scratch
    in the paper, so no ImageNet weights.

    Args:
        conv: builds what sees space and time: the fast pathway's stem.
        dropout: probability before the classifier.
    """

    def __init__(
        self,
        conv: Conv = nn.Conv3d,
        num_classes: int = 400,
        in_channels: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        slow, fast = 64, 64 // BETA
        self.slow = nn.ModuleList([stem(in_channels, slow, 1, nn.Conv3d)])
        self.fast = nn.ModuleList([stem(in_channels, fast, 5, conv)])
        self.laterals = nn.ModuleList([lateral(fast)])
        for (width, blocks, stride), slow_time, fast_time in zip(
            STAGES, SLOW_TIMES, FAST_TIMES, strict=True
        ):
            self.slow.append(
                bottleneck_stage(slow + 2 * fast, width, [(slow_time, 1)] * blocks, stride=stride)
            )
            thin = width // BETA
            self.fast.append(bottleneck_stage(fast, thin, [(fast_time, 1)] * blocks, stride=stride))
            slow, fast = EXPANSION * width, EXPANSION * thin
            if len(self.laterals) < len(STAGES):
                self.laterals.append(lateral(fast))
        self.dropout = ByteMaskDropout(dropout)
        self.fc = nn.Linear(slow + fast, num_classes)
        initialise(self, last_norms(self))

    def pathways(self, clip_BCTHW: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Slow and fast features after the stem and each stage, joined where they are joined."""
        slow, fast = clip_BCTHW[:, :, ::ALPHA], clip_BCTHW
        for i, (on_slow, on_fast) in enumerate(zip(self.slow, self.fast, strict=True)):
            slow, fast = on_slow(slow), on_fast(fast)
            if i < len(self.laterals):
                slow = torch.cat([slow, self.laterals[i](fast)], 1)
            yield slow, fast

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any size, all the fast pathway's frames -> [B, num_classes]."""
        *_, (slow, fast) = self.pathways(clip_BCTHW)
        pooled = torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
        return self.fc(self.dropout(pooled))
