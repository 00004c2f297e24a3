"""Multi-scale temporal relation network (Zhou et al., ECCV 2018) on ResNet-50."""

import torch
from torch import Tensor, nn

from baselines.models.frames import FrameResNet50, frame_classifier
from stdcf.errors import UserError
from stdcf.models.dropout import ByteMaskDropout
from stdcf.models.inflate import Pretrained

_WIDTH = 256


class Relation(nn.Module):
    """The relation of s ordered frames, summed over a few of their choices (the paper's Eq. 2).

    All C(T, s) choices of frames t1 < … < ts share one perceptron. In training at most `samples` of
    them are drawn anew in each step, without replacement; in evaluation they are those spread
    evenly over all choices in lexicographic order.
    """

    def __init__(self, num_frames: int, size: int, num_classes: int, samples: int) -> None:
        super().__init__()
        choices_XS = torch.combinations(torch.arange(num_frames), size)
        self.choices_XS: Tensor
        self.register_buffer("choices_XS", choices_XS, persistent=False)
        self.samples = min(samples, len(choices_XS))
        self.mlp = nn.Sequential(
            nn.ReLU(),
            nn.Linear(size * _WIDTH, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, num_classes),
        )

    def choose(self) -> Tensor:
        """[samples, s], frames of each choice in ascending order."""
        number, device = len(self.choices_XS), self.choices_XS.device
        if self.training:
            index = torch.randperm(number, device=device)[: self.samples]
        else:
            steps = torch.arange(self.samples, device=device)
            index = (2 * steps + 1) * number // (2 * self.samples)
        return self.choices_XS[index]

    def forward(self, features_BTD: Tensor) -> Tensor:
        """[B, T, _WIDTH] -> scores [B, num_classes]."""
        chosen_BKSD = features_BTD[:, self.choose()]
        return self.mlp(chosen_BKSD.flatten(2)).sum(1)


class TRN(nn.Module):
    """ResNet-50 on each frame, 256 features of each, and relations of 2 up to all T frames.

    Each scale has a perceptron of 256 hidden units and sees at most three choices of frames; the
    scores of all scales are summed. The layout is the authors' code's (their text gives the
    perceptron one layer more), on ResNet-50 in place of their BN-Inception, as in TSM's comparison.
    In evaluation their code draws the choices of frames anew, here they are fixed; their dropout is
    0.8.

    Args:
        num_frames: of every clip.
        samples: choices of frames a scale.
        dropout: probability before the 256 features.
        pretrained: True for timm's ImageNet weights, or a file with them.
    """

    def __init__(
        self,
        num_classes: int = 400,
        in_channels: int = 3,
        num_frames: int = 8,
        samples: int = 3,
        dropout: float = 0.5,
        pretrained: Pretrained = False,
    ) -> None:
        super().__init__()
        if num_frames < 2 or samples < 1:
            raise UserError(
                "relations need num_frames of at least 2 and samples of at least 1, "
                f"not {num_frames!r} and {samples!r}"
            )
        self.num_frames = num_frames
        self.backbone = FrameResNet50(in_channels, pretrained)
        self.dropout = ByteMaskDropout(dropout)
        self.reduce = frame_classifier(_WIDTH)
        self.relations = nn.ModuleList(
            Relation(num_frames, size, num_classes, samples) for size in range(2, num_frames + 1)
        )

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, num_frames, H, W] -> [B, num_classes].

        Raises:
            UserError: for another number of frames.
        """
        if clip_BCTHW.shape[2] != self.num_frames:
            raise UserError(
                f"trn_r50 was built for {self.num_frames} frames and got {clip_BCTHW.shape[2]}; "
                "give num_frames"
            )
        features_BTD = self.reduce(self.dropout(self.backbone(clip_BCTHW)))
        return sum(relation(features_BTD) for relation in self.relations)
