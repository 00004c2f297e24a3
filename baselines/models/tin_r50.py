"""Temporal interlacing network (Shao, Qian and Liu, AAAI 2020) on ResNet-50."""

from functools import partial

import torch
from torch import Tensor, nn

from baselines.models.frames import FrameResNet50, frame_classifier
from stdcf.errors import UserError
from stdcf.models.dropout import ByteMaskDropout
from stdcf.models.inflate import Pretrained

# Learned offsets a module; each moves one group of channels on and another back.
_OFFSETS = 2
# Offsets lie within ±_RANGE/2 frames at any number of frames, as in the authors' code.
_RANGE = 4.0
# Of the last linear layer's bias at first; theirs. The sigmoid of it is 0.625, half a frame.
_START = 0.5108


class OffsetNet(nn.Module):
    """How many frames each group of channels moves, within ±2, from the clip itself.

    A temporal convolution to one channel, two linear layers over time, and 4·(sigmoid − ½) as in
    the authors' code, whatever the number of frames; the paper's text scales by T. At the start of
    training offsets are near half a frame.
    """

    def __init__(self, channels: int, num_frames: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 1, 3, padding=1)
        self.fc1 = nn.Linear(num_frames, num_frames)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(num_frames, _OFFSETS)
        nn.init.constant_(self.fc2.bias, _START)

    def forward(self, descriptor_BCT: Tensor) -> Tensor:
        """[B, C, T] -> [B, 2·_OFFSETS], the second half the first one's negative."""
        hidden = self.relu(self.fc1(self.conv(descriptor_BCT).squeeze(1)))
        offsets = _RANGE * (torch.sigmoid(self.fc2(hidden)) - 0.5)
        return torch.cat([offsets, -offsets], 1)


class WeightNet(nn.Module):
    """A weight in (0, 2) for each frame of each group: a temporal convolution and a sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, _OFFSETS, 3, padding=1)
        with torch.no_grad():
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, descriptor_BCT: Tensor) -> Tensor:
        """[B, C, T] -> [B, 2·_OFFSETS, T]; a group moved on and its mirror share theirs."""
        return 2 * torch.sigmoid(self.conv(descriptor_BCT)).repeat(1, 2, 1)


def interlace(x_BTCHW: Tensor, offsets_BG: Tensor, weights_BGT: Tensor) -> Tensor:
    """Frame t of group g becomes weight[g, t] times the clip at time t − offset[g].

    So a frame moves on by its group's offset, as in the authors' code (out[t + shift] = in[t]).
    Between frames it is interpolated linearly, and outside of the clip 0.

    Args:
        x_BTCHW: C a multiple of the groups G.
    """
    batch, frames, _, height, width = x_BTCHW.shape
    groups = offsets_BG.shape[1]
    time_T = torch.arange(frames, device=x_BTCHW.device)
    # Linear interpolation as a matrix: what frame s counts for at time t.
    offsets_BG = offsets_BG.to(torch.promote_types(offsets_BG.dtype, torch.float32))
    distance_BGTS = time_T[:, None] - time_T - offsets_BG[..., None, None]
    mixing_BGTS = (1 - distance_BGTS.abs()).clamp_min(0) * weights_BGT[..., None]
    x_BGTX = x_BTCHW.unflatten(2, (groups, -1)).transpose(1, 2).flatten(3)
    y_BGTX = mixing_BGTS.to(x_BGTX.dtype) @ x_BGTX
    y_BTGX = y_BGTX.transpose(1, 2)
    return y_BTGX.reshape(batch, frames, -1, height, width)


class TemporalInterlace(nn.Module):
    """Interlaces 1/4 of the channels, in two pairs of groups, and leaves the others."""

    def __init__(self, channels: int, num_frames: int) -> None:
        super().__init__()
        self.moved = channels // 4
        self.offset_net = OffsetNet(self.moved, num_frames)
        self.weight_net = WeightNet(self.moved)

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        """[B, T, C, H, W] -> the same shape."""
        moved, rest = x_BTCHW.split([self.moved, x_BTCHW.shape[2] - self.moved], 2)
        descriptor_BCT = moved.mean((3, 4)).transpose(1, 2)
        offsets_BG, weights_BGT = self.offset_net(descriptor_BCT), self.weight_net(descriptor_BCT)
        return torch.cat([interlace(moved, offsets_BG, weights_BGT).to(rest.dtype), rest], 2)


class TIN(nn.Module):
    """ResNet-50 on each frame, with a quarter of the channels interlaced in each residual branch.

    Groups of channels move in time by offsets that a small network reads off the clip, half of them
    on and half of them back, and each frame of them is weighted (the paper's §3); scores are
    averaged over the frames. Range, start and sign of the offsets, the quarter and the pairs are
    those of the authors' code, and `baselines.models.published.load_published` takes its
    checkpoints. Their dropout is 0.8.

    Args:
        num_frames: of every clip; the offsets' linear layers run over time.
        dropout: probability before the classifier.
        pretrained: True for timm's ImageNet weights, or a file with them.
    """

    def __init__(
        self,
        num_classes: int = 400,
        in_channels: int = 3,
        num_frames: int = 8,
        dropout: float = 0.5,
        pretrained: Pretrained = False,
    ) -> None:
        super().__init__()
        if num_frames < 1:
            raise UserError(f"num_frames must be at least 1, not {num_frames!r}")
        self.num_frames = num_frames
        mixer = partial(TemporalInterlace, num_frames=num_frames)
        self.backbone = FrameResNet50(in_channels, pretrained, mixer)
        self.dropout = ByteMaskDropout(dropout)
        self.fc = frame_classifier(num_classes)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, num_frames, H, W] -> [B, num_classes].

        Raises:
            UserError: for another number of frames.
        """
        if clip_BCTHW.shape[2] != self.num_frames:
            raise UserError(
                f"tin_r50 was built for {self.num_frames} frames and got {clip_BCTHW.shape[2]}; "
                "give num_frames"
            )
        return self.fc(self.dropout(self.backbone(clip_BCTHW))).mean(1)
