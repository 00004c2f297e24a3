"""The three-layer 3D CNN that reconstructs clips (§2.1.1, Figure 2)."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.layers.padding import triple


class Autoencoder3d(nn.Module):
    """Three convolutions that give back their clip, through a smaller one in between.

    conv → BatchNorm → ReLU → average pool → conv → BatchNorm → ReLU → interpolation to the clip's
    size → conv. The paper says no more than "3-layer 3D CNN" (its Appendix B is not public): the
    pool, which leaves the middle layer `widths[0]` numbers for every ∏pool pixels, is what makes
    reconstruction a task at all; with pool 1 and a corrupted input it is restoration.

    Args:
        conv: the 3D convolution, with nn.Conv3d's constructor; all three are built by it.
        widths: channels after the first and the second convolution.
        kernel_size: of all three, odd.
        pool: (time, height, width) by which the middle layer's clip is smaller; 1 is none.
    """

    def __init__(
        self,
        conv: Callable[..., nn.Module] = nn.Conv3d,
        in_channels: int = 1,
        widths: Sequence[int] = (16, 16),
        kernel_size: int = 3,
        pool: int | Sequence[int] = 2,
    ) -> None:
        super().__init__()
        if len(widths) != 2 or min(widths) < 1:
            raise UserError(f"widths must be two numbers of channels, not {widths!r}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f"kernel_size must be odd, so that sizes stay, not {kernel_size!r}")
        try:
            self.pool = triple(pool, "pool")
        except ValueError as error:
            raise UserError(str(error)) from error
        first, second = widths
        padding = kernel_size // 2
        self.conv1 = conv(in_channels, first, kernel_size, padding=padding, bias=False)
        self.bn1 = nn.BatchNorm3d(first)
        self.conv2 = conv(first, second, kernel_size, padding=padding, bias=False)
        self.bn2 = nn.BatchNorm3d(second)
        self.conv3 = conv(second, in_channels, kernel_size, padding=padding)
        self.relu = nn.ReLU()

    def encode(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> the bottleneck [B, widths[0], T', H', W'], sizes divided by `pool`."""
        x = self.relu(self.bn1(self.conv1(clip_BCTHW)))
        if self.pool == (1, 1, 1):
            return x
        # A clip may be smaller than the pool.
        window = [min(size, pool) for size, pool in zip(x.shape[2:], self.pool, strict=True)]
        return F.avg_pool3d(x, window, ceil_mode=True)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any size -> a clip of the same shape, of no bounded range."""
        x = self.relu(self.bn2(self.conv2(self.encode(clip_BCTHW))))
        if self.pool != (1, 1, 1):
            x = F.interpolate(x, clip_BCTHW.shape[2:], mode="trilinear")
        return self.conv3(x)
