"""Space-time region graphs on I3D (Wang and Gupta, ECCV 2018)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from baselines.models.i3d_r50 import I3D
from baselines.models.regions import SimilarityGraph, SpaceTimeGraph, grid_regions
from stdcf.errors import UserError
from stdcf.models.inflate import Pretrained
from stdcf.models.initialise import draw_filter, draw_head

_WIDTH = 512
_ALIGNED = 7


class I3DGCN(I3D):
    """I3D, joined by three layers of graph convolution over regions of its features.

    The 2048 channels are reduced to 512; each region is aligned to 7×7 and pooled by its maximum to
    one node. A similarity graph and a space-time graph (front and back) run beside each other, and
    their sum, averaged over the nodes, joins the average of the whole clip before the classifier.
    The paper takes 50 boxes a frame from a region proposal network of its own; here boxes are given
    or are the tiles of a grid, and with the grid it is not the paper's I3D+GCN. No official code is
    public; each graph layer sums, normalises (LayerNorm) and rectifies, where another's
    (jd730/STRG) rectifies and sums.

    Args:
        conv: as in `I3D`.
        grid: s for s×s tiles of each frame, where no regions are given.
        graph_layers: of each graph.
        non_local, last_stride, dropout, pretrained: as in `I3D`.
    """

    def __init__(
        self,
        conv: Callable[..., nn.Module] = nn.Conv3d,
        num_classes: int = 400,
        in_channels: int = 3,
        grid: Sequence[int] = (1, 2, 3),
        graph_layers: int = 3,
        non_local: int = 0,
        last_stride: int = 1,
        dropout: float = 0.5,
        pretrained: Pretrained = False,
    ) -> None:
        if not grid or min(grid) < 1 or graph_layers < 1:
            raise UserError(
                "grid must be numbers of at least 1 and graph_layers at least 1, "
                f"not {grid!r} and {graph_layers!r}"
            )
        options: dict[str, Any] = {"non_local": non_local, "last_stride": last_stride}
        super().__init__(
            conv, num_classes, in_channels, dropout=dropout, pretrained=pretrained, **options
        )
        self.reduce = nn.Conv3d(self.fc.in_features, _WIDTH, 1)
        draw_filter(self.reduce)
        self.similarity = SimilarityGraph(_WIDTH, graph_layers)
        self.space_time = SpaceTimeGraph(_WIDTH, graph_layers)
        self.fc = draw_head(nn.Linear(2 * _WIDTH, num_classes))
        self.tiles_RX: Tensor
        self.register_buffer("tiles_RX", grid_regions(grid), persistent=False)

    def nodes(self, features_BDTHW: Tensor, regions_BTRX: Tensor) -> Tensor:
        """One node a region, [B, T, R, D]: the maximum over its 7×7 aligned features."""
        batch, _, frames, height, width = features_BDTHW.shape
        size = regions_BTRX.new_tensor([width, height, width, height])
        boxes = list((regions_BTRX * size).flatten(0, 1).unbind())
        images = features_BDTHW.transpose(1, 2).flatten(0, 1)
        aligned = roi_align(images, boxes, _ALIGNED, aligned=True)
        return aligned.amax((2, 3)).unflatten(0, (batch, frames, -1))

    def forward(self, clip_BCTHW: Tensor, regions_BTRX: Tensor | None = None) -> Tensor:
        """[B, C, T, H, W], any size -> [B, num_classes].

        Args:
            regions_BTRX: [B, ⌈T/2⌉, R, 4], R boxes for every other frame, as x0, y0, x1, y1 from 0
                to 1 of the frame's width and height; None takes the grid's tiles.

        Raises:
            UserError: for regions of another shape.
        """
        features = self.reduce(self.forward_features(clip_BCTHW))
        batch, _, frames = features.shape[:3]
        if regions_BTRX is None:
            regions_BTRX = self.tiles_RX.expand(batch, frames, -1, -1)
        if regions_BTRX.ndim != 4 or (*regions_BTRX.shape[:2], regions_BTRX.shape[3]) != (
            batch,
            frames,
            4,
        ):
            raise UserError(
                f"regions must be [{batch}, {frames}, R, 4] for this clip (boxes for every other "
                f"frame), not {list(regions_BTRX.shape)}"
            )
        nodes = self.nodes(features, regions_BTRX)
        similar = self.similarity(nodes.flatten(1, 2))
        near = self.space_time(nodes, regions_BTRX).flatten(1, 2)
        joined = torch.cat([(similar + near).mean(1), features.mean((2, 3, 4))], 1)
        return self.fc(self.dropout(joined))
