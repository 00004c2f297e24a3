"""A 2D ResNet-50 on every frame of a clip, and what may mix the frames within it."""

from collections.abc import Callable
from typing import Any

import timm
from torch import Tensor, nn

from stdcf.models.inflate import Pretrained, load_imagenet
from stdcf.models.initialise import draw_head


def frame_classifier(num_classes: int) -> nn.Linear:
    """From a frame's features, drawn as by the authors of TSN, TRN, TSM and TIN: N(0, 0.001)."""
    return draw_head(nn.Linear(FrameResNet50.out_features, num_classes), std=0.001)


class FrameResNet50(nn.Module):
    """timm's resnet50 on each frame.

    Args:
        pretrained: True for timm's ImageNet weights, or a file with them.
        mixer: makes, from a number of channels, a module that maps [B, T, C, H, W] to its own
            shape; one stands before the first convolution of each of the 16 residual branches.
    """

    out_features = 2048

    def __init__(
        self,
        in_channels: int = 3,
        pretrained: Pretrained = False,
        mixer: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.net = timm.create_model("resnet50", in_chans=in_channels, num_classes=0)
        if pretrained:
            load_imagenet(self.net, pretrained)
        if mixer is not None:
            for i in range(1, 5):
                blocks: Any = self.net.get_submodule(f"layer{i}").children()
                for block in blocks:
                    block.conv1 = _MixedConv(mixer(block.conv1.in_channels), block.conv1)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, T, 2048]."""
        frames = clip_BCTHW.shape[2]
        for module in self.net.modules():
            if isinstance(module, _MixedConv):
                module.num_frames = frames
        images_NCHW = clip_BCTHW.transpose(1, 2).flatten(0, 1)
        return self.net(images_NCHW).unflatten(0, (-1, frames))


class _MixedConv(nn.Module):
    """A 2D convolution that first has the frames of each clip mixed."""

    # Of a clip; a 2D network's tensors do not tell.
    num_frames: int

    def __init__(self, mixer: nn.Module, conv: nn.Module) -> None:
        super().__init__()
        self.mixer, self.conv = mixer, conv

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_BTCHW = x_NCHW.unflatten(0, (-1, self.num_frames))
        return self.conv(self.mixer(x_BTCHW).flatten(0, 1))
