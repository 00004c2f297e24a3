"""The non-local block (Wang et al., CVPR 2018)."""

from torch import Tensor, nn
from torch.nn import functional as F

_START_STD = 0.01


class NonLocalBlock(nn.Module):
    """Adds to each position what all positions of the clip hold, weighted by likeness.

    The embedded Gaussian form, softmax(q kᵀ/√d) v, with half the channels inside (d), keys and
    values pooled over 2×2 pixels (the paper's subsampling), and a BatchNorm at the end that starts
    at 0, so that a pretrained network starts as it was. The convolutions start from N(0, 0.01) with
    biases of 0. The division by √d, which the paper's text lacks, and the start are those of the
    authors' code; at odd sizes theirs leaves out the last row or column, which is pooled here.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.query = nn.Conv3d(channels, inner, 1)
        self.key = nn.Conv3d(channels, inner, 1)
        self.value = nn.Conv3d(channels, inner, 1)
        self.out = nn.Conv3d(inner, channels, 1)
        self.bn = nn.BatchNorm3d(channels)
        for conv in (self.query, self.key, self.value, self.out):
            nn.init.normal_(conv.weight, std=_START_STD)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.bn.weight)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> the same shape."""
        pooled = F.max_pool3d(x_BCTHW, (1, 2, 2), ceil_mode=True)
        query, key, value = (
            embed.flatten(2).transpose(1, 2)
            for embed in (self.query(x_BCTHW), self.key(pooled), self.value(pooled))
        )
        # Divides by √d by itself.
        seen_BXC = F.scaled_dot_product_attention(query, key, value)
        seen = seen_BXC.transpose(1, 2).unflatten(2, x_BCTHW.shape[2:])
        return x_BCTHW + self.bn(self.out(seen))
