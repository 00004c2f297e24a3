"""Temporal segment network (Wang et al., ECCV 2016) on ResNet-50."""

from torch import Tensor, nn

from baselines.models.frames import FrameResNet50, frame_classifier
from stdcf.models.dropout import ByteMaskDropout
from stdcf.models.inflate import Pretrained


class TSN(nn.Module):
    """ResNet-50 on one frame of each segment; the consensus is the mean of the frames' scores.

    Nothing else joins the frames, so this is also Table 4's 2D-R50. ResNet-50 in place of the
    paper's BN-Inception, as in TSM's comparison (24.3 M parameters, 33 G at 8×224²).

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
        self.backbone = FrameResNet50(in_channels, pretrained)
        self.dropout = ByteMaskDropout(dropout)
        self.fc = frame_classifier(num_classes)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any size, T segments -> [B, num_classes]."""
        return self.fc(self.dropout(self.backbone(clip_BCTHW))).mean(1)
