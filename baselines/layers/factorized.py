"""Factorised 3D convolutions of other libraries, with nn.Conv3d's constructor, for comparison."""

from typing import Any

from torch import nn


def conv2plus1d(in_channels: int, out_channels: int, *, padding: int = 1) -> nn.Module:
    """torchvision's (2+1)D block without its BatchNorm and ReLU, at its own middle width.

    The width makes its parameters those of a dense 3×3×3 filter (Tran et al., CVPR 2018, §3.5).
    """
    from torchvision.models.video.resnet import Conv2Plus1D

    middle = (in_channels * out_channels * 27) // (in_channels * 9 + 3 * out_channels)
    block = Conv2Plus1D(in_channels, out_channels, middle, padding=padding)
    return nn.Sequential(block[0], block[3])


def tensorly_conv3d(
    in_channels: int,
    out_channels: int,
    *,
    factorization: str,
    implementation: str,
    share: float,
    padding: int = 1,
) -> nn.Module:
    """TensorLy-Torch's FactorizedConv with a 3×3×3 filter and no bias.

    Args:
        factorization: "cp" or "tucker".
        implementation: "factorized" (a chain of small convolutions) or "reconstructed" (the dense
            filter).
        share: its parameters as a part of the dense filter's.

    Raises:
        ImportError: if tensorly-torch is not installed.
    """
    import tltorch

    made: Any = tltorch.FactorizedConv(
        in_channels,
        out_channels,
        kernel_size=3,
        order=3,
        padding=padding,
        bias=False,
        rank=share,
        factorization=factorization,
        implementation=implementation,
    )
    # It leaves its weights as they lie in memory. The filter that they make gets about nn.Conv3d's
    # variance.
    made.weight.normal_(0, (3 * 27 * in_channels) ** -0.5)
    return made
