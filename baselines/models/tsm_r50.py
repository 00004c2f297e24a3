"""Temporal shift module (Lin, Gan and Han, ICCV 2019) on ResNet-50."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.models.frames import FrameResNet50, frame_classifier
from stdcf.models.dropout import ByteMaskDropout
from stdcf.models.inflate import Pretrained


class TemporalShift(nn.Module):
    """Moves 1/`parts` of the channels one frame back and as many one frame on (§3.2 of the paper).

    What would come from outside of the clip is 0.
    """

    def __init__(self, channels: int, parts: int = 8) -> None:
        super().__init__()
        self.moved = channels // parts

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        """[B, T, C, H, W] -> the same shape."""
        stays = x_BTCHW.shape[2] - 2 * self.moved
        later, earlier, rest = x_BTCHW.split([self.moved, self.moved, stays], 2)
        none = (0, 0) * 3
        return torch.cat(
            [F.pad(later[:, 1:], (*none, 0, 1)), F.pad(earlier[:, :-1], (*none, 1, 0)), rest], 2
        )


class TSM(nn.Module):
    """ResNet-50 on each frame, with the channels shifted in each of its 16 residual branches.

    1/8 of the channels come from the next frame and 1/8 from the last one, before the branch's
    first convolution, so that the shortcut stays as it is; scores are averaged over the frames. The
    shift has no parameters and no multiplications.

    Args:
        dropout: probability before the classifier.
        pretrained: True for timm's ImageNet weights, or a file with them.
    """

    def __init__(
        self,
        num_classes: int = 400,
        in_channels: int = 3,
        dropout: float = 0.5,
        pretrained: Pretrained = False,
    ) -> None:
        super().__init__()
        self.backbone = FrameResNet50(in_channels, pretrained, TemporalShift)
        self.dropout = ByteMaskDropout(dropout)
        self.fc = frame_classifier(num_classes)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any size -> [B, num_classes]."""
        return self.fc(self.dropout(self.backbone(clip_BCTHW))).mean(1)
