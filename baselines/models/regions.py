"""Regions of a clip as the nodes of two graphs (Wang and Gupta, ECCV 2018, §4)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def grid_regions(scales: Sequence[int]) -> Tensor:
    """[R, 4]: for each s of `scales` the s×s tiles of a frame, as x0, y0, x1, y1 from 0 to 1."""
    tiles = []
    for s in scales:
        edges = torch.arange(s) / s
        y, x = torch.meshgrid(edges, edges, indexing="ij")
        tiles.append(torch.stack([x, y, x + 1 / s, y + 1 / s], -1).flatten(0, 1))
    return torch.cat(tiles)


def overlap_edges(regions_BTRX: Tensor) -> Tensor:
    """Intersection over union of each frame's regions with the next frame's, [B, T-1, R, R]."""
    here, following = regions_BTRX[:, :-1, :, None], regions_BTRX[:, 1:, None]
    low = torch.maximum(here[..., :2], following[..., :2])
    high = torch.minimum(here[..., 2:], following[..., 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1) for boxes in (here, following)]
    return shared / (areas[0] + areas[1] - shared).clamp_min(1e-9)


def row_normalized(edges: Tensor) -> Tensor:
    """Each row divided by its sum; a row without edges stays 0."""
    return edges / edges.sum(-1, keepdim=True).clamp_min(1e-9)


class SimilarityGraph(nn.Module):
    """Layers of ReLU(LayerNorm(G·X·W)), G the softmax over nodes j of (w·x_i)ᵀ(w'·x_j)."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.left = nn.Linear(width, width, bias=False)
        self.right = nn.Linear(width, width, bias=False)
        self.weights = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))

    def edges(self, nodes_BND: Tensor) -> Tensor:
        """[B, N, N], rows sum to 1."""
        return (self.left(nodes_BND) @ self.right(nodes_BND).transpose(1, 2)).softmax(-1)

    def forward(self, nodes_BND: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        edges_BNN = self.edges(nodes_BND)
        for weight, norm in zip(self.weights, self.norms, strict=True):
            nodes_BND = torch.relu(norm(edges_BNN @ weight(nodes_BND)))
        return nodes_BND


class SpaceTimeGraph(nn.Module):
    """Layers of ReLU(LayerNorm(G_front·X·W_front + G_back·X·W_back)).

    Edges run from each region to those that it overlaps in the next frame (front) and in the last
    one (back), in proportion to intersection over union. They are kept per pair of frames, since
    all others are 0.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.front = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.back = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))

    def forward(self, nodes_BTRD: Tensor, regions_BTRX: Tensor) -> Tensor:
        """[B, T, R, D] and their boxes [B, T, R, 4] -> [B, T, R, D]."""
        overlap = overlap_edges(regions_BTRX).to(nodes_BTRD.dtype)
        front, back = row_normalized(overlap), row_normalized(overlap.transpose(2, 3))
        for to_front, to_back, norm in zip(self.front, self.back, self.norms, strict=True):
            none = torch.zeros_like(nodes_BTRD[:, :1])
            ahead = torch.cat([front @ to_front(nodes_BTRD[:, 1:]), none], 1)
            behind = torch.cat([none, back @ to_back(nodes_BTRD[:, :-1])], 1)
            nodes_BTRD = torch.relu(norm(ahead + behind))
        return nodes_BTRD
