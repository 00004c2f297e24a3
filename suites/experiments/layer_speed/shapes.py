"""The shapes at which layers are timed; without torch, so that tables and figures can use them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A 3×3×3 convolution with padding 1 and stride 1 and the clips that it is given.

    Attributes:
        size: T, H, W.
    """

    in_channels: int
    out_channels: int
    size: tuple[int, int, int]

    @property
    def name(self) -> str:
        t, h, w = self.size
        return f"{self.in_channels}to{self.out_channels}_{t}x{h}x{w}"

    @property
    def positions(self) -> int:
        """Output positions of one clip."""
        t, h, w = self.size
        return t * h * w


def _by_name(*shapes: Shape) -> dict[str, Shape]:
    return {shape.name: shape for shape in shapes}


# The middle convolutions of ResNet-50's four stages at 8×224², and kth_cnn's at 16×60×80.
RESNET50 = _by_name(
    Shape(64, 64, (8, 56, 56)),
    Shape(128, 128, (8, 28, 28)),
    Shape(256, 256, (8, 14, 14)),
    Shape(512, 512, (8, 7, 7)),
)
KTH_CNN = _by_name(
    Shape(1, 16, (16, 60, 80)),
    Shape(16, 32, (16, 30, 40)),
    Shape(32, 64, (8, 15, 20)),
)
SHAPES = RESNET50 | KTH_CNN
