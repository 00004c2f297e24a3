"""The three-layer 3D CNN of the paper's KTH experiments (§3.1, Table B)."""

from collections.abc import Callable

from torch import Tensor, nn

from stdcf.errors import UserError
from stdcf.layers.shared import share_atoms as share
from stdcf.models.activations import RELUS
from stdcf.models.dropout import ByteMaskDropout


class KTHNet(nn.Module):
    """Three blocks of Conv3d 3×3×3 → BatchNorm → ReLU → MaxPool → Dropout, average pool, linear.

    Channels 16, 32, 64; pools (1,2,2), (2,2,2), (2,2,2). The appendix with the paper's own table is
    not public: this layout was inferred by matching all six memory figures of Table 2.

    Args:
        conv: the 3D convolution, with nn.Conv3d's constructor.
        relu_saves: "output" is today's ReLU; "input" keeps its input for backward as PyTorch's did
            in 2021, which alone compares with the paper's memory.
        dropout: probability after each pool.
        share_atoms: all layers have the first one's atoms, where they have any (STDCF).
    """

    def __init__(
        self,
        conv: Callable[..., nn.Module] = nn.Conv3d,
        num_classes: int = 6,
        in_channels: int = 1,
        relu_saves: str = "output",
        dropout: float = 0.5,
        share_atoms: bool = False,
    ) -> None:
        super().__init__()
        if relu_saves not in RELUS:
            raise UserError(f"relu_saves must be one of {', '.join(RELUS)}, not {relu_saves!r}")
        if not 0 <= dropout <= 1:
            raise UserError(f"dropout must be a probability from 0 to 1, not {dropout!r}")
        widths = (in_channels, 16, 32, 64)
        pools = ((1, 2, 2), (2, 2, 2), (2, 2, 2))
        self.blocks = nn.Sequential()
        for c_in, c_out, pool in zip(widths, widths[1:], pools, strict=False):
            self.blocks.append(
                nn.Sequential(
                    conv(c_in, c_out, 3, padding=1),
                    nn.BatchNorm3d(c_out),
                    RELUS[relu_saves](),
                    nn.MaxPool3d(pool),
                    ByteMaskDropout(dropout),
                )
            )
        self.head = nn.Linear(widths[-1], num_classes)
        if share_atoms:
            try:
                share(self)
            except ValueError as error:
                raise UserError(f"share_atoms: {error}") from error

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W], any T ≥ 4 and H, W ≥ 8 -> [B, num_classes]."""
        return self.head(self.blocks(clip_BCTHW).mean((2, 3, 4)))
