"""What layer_speed times: shapes, and the layers that it times on each."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

from baselines.layers import Rank1Conv3d
from baselines.layers.factorized import conv2plus1d, tensorly_conv3d
from stdcf.layers import STDCFConv3d

# (M, N): the paper's for KTH and for Kinetics.
ATOMS = ((3, 2), (6, 2))
PLANS = ("auto", "composed", "factored", "temporal_first", "spatial_first")


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


# The middle convolutions of ResNet-50's four stages at 8×224², and kth_cnn's at 16×60×80.
RESNET50 = (
    Shape(64, 64, (8, 56, 56)),
    Shape(128, 128, (8, 28, 28)),
    Shape(256, 256, (8, 14, 14)),
    Shape(512, 512, (8, 7, 7)),
)
KTH_CNN = (
    Shape(1, 16, (16, 60, 80)),
    Shape(16, 32, (16, 30, 40)),
    Shape(32, 64, (8, 15, 20)),
)
SHAPES = {shape.name: shape for shape in (*RESNET50, *KTH_CNN)}


def layers(shape: Shape) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Name -> constructor of every layer that is timed; the first is nn.Conv3d."""
    i, o = shape.in_channels, shape.out_channels
    yield "regular", partial(nn.Conv3d, i, o, 3, padding=1, bias=False)
    yield "rank1", partial(Rank1Conv3d, i, o, 3, padding=1, bias=False)
    yield "torchvision Conv2Plus1D", partial(conv2plus1d, i, o)
    for m, n in ATOMS:
        for plan in PLANS:
            atoms = partial(STDCFConv3d, num_spatial_atoms=m, num_temporal_atoms=n, plan=plan)
            yield f"stdcf {m},{n} {plan}", partial(atoms, i, o, 3, padding=1, bias=False)
    if importlib.util.find_spec("tltorch") is None:
        return
    m, n = ATOMS[0]
    share = m * n / 27
    for factorization in ("cp", "tucker"):
        for implementation in ("factorized", "reconstructed"):
            yield (
                f"tensorly {factorization} {implementation}",
                partial(
                    tensorly_conv3d,
                    i,
                    o,
                    factorization=factorization,
                    implementation=implementation,
                    share=share,
                ),
            )


def missing() -> list[str]:
    """Libraries whose layers are left out because they are not installed."""
    return [] if importlib.util.find_spec("tltorch") is not None else ["tensorly-torch"]
