"""I3D's layout, its non-local blocks, and the region graphs on it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from baselines.models.i3d_gcn_r50 import I3DGCN
from baselines.models.i3d_r50 import I3D
from baselines.models.non_local import NonLocalBlock
from baselines.models.regions import (
    SimilarityGraph,
    SpaceTimeGraph,
    grid_regions,
    overlap_edges,
    row_normalized,
)
from stdcf.errors import UserError


def test_every_other_bottleneck_is_inflated() -> None:
    expected = [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]
    for inflate, attribute in (("3x1x1", "conv1"), ("3x3x3", "conv2")):
        with torch.device("meta"):
            model = I3D(inflate=inflate)
        stages = [model.layer1, model.layer2, model.layer3, model.layer4]
        found = [[getattr(b, attribute).kernel_size[0] for b in stage] for stage in stages]
        assert found == expected


@pytest.mark.parametrize(("last_stride", "size"), [(1, 14), (2, 7)])
def test_what_comes_out_of_32_frames(last_stride: int, size: int) -> None:
    with torch.device("meta"):
        model = I3D(last_stride=last_stride)
        features = model.forward_features(torch.empty(1, 3, 32, 224, 224))
    assert features.shape == (1, 2048, 16, size, size)


@pytest.mark.parametrize(
    ("number", "places"),
    [
        (0, []),
        (5, ["2_1", "2_3", "3_1", "3_3", "3_5"]),
        (10, [f"2_{j}" for j in range(4)] + [f"3_{j}" for j in range(6)]),
    ],
)
def test_places_of_the_non_local_blocks(number: int, places: list[str]) -> None:
    with torch.device("meta"):
        assert list(I3D(non_local=number).non_local) == places


def test_non_local_block_position_by_position() -> None:
    torch.manual_seed(0)
    block = NonLocalBlock(6).double().eval()
    block.bn.weight.data.uniform_(0.5, 1.5)
    block.bn.running_mean.uniform_(-1, 1)
    block.bn.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 6, 2, 4, 6, dtype=torch.float64)
    pooled = x.unfold(3, 2, 2).unfold(4, 2, 2).amax((5, 6))

    def linear(conv: nn.Conv3d, at: Tensor) -> Tensor:
        return conv.weight[:, :, 0, 0, 0] @ at + conv.bias

    others = pooled.flatten(2)[0].T
    for t, h, w in ((0, 0, 0), (1, 3, 5), (0, 2, 4)):
        query = linear(block.query, x[0, :, t, h, w])
        dots = torch.stack([(query * linear(block.key, other)).sum() for other in others])
        affinity = dots / math.sqrt(3)  # of the 3 channels inside
        share = affinity.exp() / affinity.exp().sum()
        seen = sum(s * linear(block.value, other) for s, other in zip(share, others, strict=True))
        out = linear(block.out, seen)
        norm = (out - block.bn.running_mean) / (block.bn.running_var + block.bn.eps).sqrt()
        expected = x[0, :, t, h, w] + norm * block.bn.weight + block.bn.bias
        torch.testing.assert_close(block(x)[0, :, t, h, w], expected)


def test_a_non_local_blocks_convolutions_start_from_a_normal_distribution() -> None:
    torch.manual_seed(0)
    block = NonLocalBlock(256)
    for conv in (block.query, block.key, block.value, block.out):
        number = conv.weight.numel()
        # Within 5 standard errors of N(0, 0.01).
        assert conv.weight.mean().item() == pytest.approx(0, abs=5 * 0.01 / math.sqrt(number))
        assert conv.weight.std().item() == pytest.approx(0.01, rel=5 / math.sqrt(2 * number))
        assert conv.weight.abs().max() > 0.03
        assert not conv.bias.any()


@pytest.mark.parametrize(("frames", "expected"), [(1, [0]), (4, [1, 3]), (5, [1, 3, 4])])
def test_the_second_pool_is_over_pairs_of_frames(frames: int, expected: list[int]) -> None:
    with torch.device("meta"):
        pool = I3D().pool2
    x = torch.arange(frames).float().view(1, 1, frames, 1, 1).expand(1, 1, frames, 2, 2)
    assert pool(x)[0, 0, :, 0, 0].tolist() == expected
    assert pool(x).shape[3:] == (2, 2)
    # Falling values tell pairs from windows of three frames.
    assert pool(-x)[0, 0, :, 1, 1].tolist() == [-2.0 * i for i in range(len(expected))]


def test_a_new_non_local_block_changes_nothing() -> None:
    x = torch.randn(2, 8, 3, 5, 7)
    assert torch.equal(NonLocalBlock(8)(x), x)


def boxes(*shape: int) -> Tensor:
    low, high = torch.rand(*shape, 2), torch.rand(*shape, 2)
    return torch.cat([torch.minimum(low, high), torch.maximum(low, high)], -1)


def test_overlap_is_torchvisions() -> None:
    torch.manual_seed(0)
    regions = boxes(2, 4, 5)
    edges = overlap_edges(regions)
    assert edges.shape == (2, 3, 5, 5)
    for b in range(2):
        for t in range(3):
            expected = box_iou(regions[b, t], regions[b, t + 1])
            torch.testing.assert_close(edges[b, t], expected)


def test_rows_without_edges_stay_zero() -> None:
    edges = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    assert row_normalized(edges).tolist() == [[0.25, 0.75], [0.0, 0.0]]


def test_space_time_graph_is_the_one_over_all_nodes() -> None:
    """Against adjacency matrices over all N = T·R nodes, filled pair by pair."""
    torch.manual_seed(0)
    frames, number, width = 3, 4, 6
    regions = boxes(1, frames, number)
    graph = SpaceTimeGraph(width, layers=2)
    nodes = torch.randn(1, frames, number, width)
    front = torch.zeros(frames * number, frames * number)
    for i in range(frames * number):
        for j in range(frames * number):
            if j // number == i // number + 1:
                a, b = (regions[0, k // number, k % number][None] for k in (i, j))
                front[i, j] = box_iou(a, b)
    back = front.T.clone()
    for edges in (front, back):
        for row in edges:
            if row.sum() > 0:
                row /= row.sum()
    x = nodes[0].flatten(0, 1)
    for to_front, to_back, norm in zip(graph.front, graph.back, graph.norms, strict=True):
        x = norm(front @ x @ to_front.weight.T + back @ x @ to_back.weight.T).relu()
    torch.testing.assert_close(graph(nodes, regions)[0].flatten(0, 1), x)


def test_similarity_graph_pair_by_pair() -> None:
    torch.manual_seed(0)
    graph = SimilarityGraph(5, layers=2)
    nodes = torch.randn(1, 7, 5)
    x = nodes[0]
    pairs = torch.stack(
        [torch.stack([(graph.left(a) * graph.right(b)).sum() for b in x]) for a in x]
    )
    edges = pairs.exp() / pairs.exp().sum(1, keepdim=True)
    torch.testing.assert_close(graph.edges(nodes)[0], edges)
    for weight, norm in zip(graph.weights, graph.norms, strict=True):
        x = norm(edges @ x @ weight.weight.T).relu()
    torch.testing.assert_close(graph(nodes)[0], x)


def test_tiles_cover_the_frame() -> None:
    tiles = grid_regions((1, 2, 3))
    assert len(tiles) == 1 + 4 + 9
    assert tiles[0].tolist() == [0, 0, 1, 1]
    assert tiles[1:5].tolist() == [
        [0, 0, 0.5, 0.5],
        [0.5, 0, 1, 0.5],
        [0, 0.5, 0.5, 1],
        [0.5, 0.5, 1, 1],
    ]
    areas = (tiles[:, 2:] - tiles[:, :2]).prod(1)
    assert areas.sum().item() == pytest.approx(3)


@pytest.fixture(scope="module")
def network() -> I3DGCN:
    torch.manual_seed(0)
    return I3DGCN(num_classes=3).eval()


def test_a_node_is_what_lies_in_its_region(network: I3DGCN) -> None:
    features = torch.zeros(1, 2, 1, 14, 14)
    features[0, 0, 0, :7, :7] = 1
    features[0, 1, 0, 7:, 7:] = 2
    regions = torch.tensor([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0.5, 0, 1, 0.45], [0, 0, 1, 1]])
    nodes = network.nodes(features, regions.view(1, 1, 4, 4))
    assert nodes[0, 0].tolist() == [[1, 0], [0, 2], [0, 0], [1, 2]]


def test_regions_count_but_their_order_does_not(network: I3DGCN) -> None:
    torch.manual_seed(0)
    clip = torch.randn(2, 3, 4, 64, 64)
    regions = boxes(2, 2, 5)
    with torch.no_grad():
        scores = network(clip, regions)
        shuffled = network(clip, regions[:, :, torch.randperm(5)])
        moved = network(clip, boxes(2, 2, 5))
        by_default = network(clip)
        given = network(clip, grid_regions((1, 2, 3)).expand(2, 2, -1, -1))
    torch.testing.assert_close(scores, shuffled)
    assert torch.equal(by_default, given)
    for other in (moved, by_default):
        assert not torch.allclose(scores, other, rtol=1e-3)


def test_regions_of_another_shape(network: I3DGCN) -> None:
    clip = torch.zeros(1, 3, 4, 32, 32)
    for shape in ((1, 4, 5, 4), (2, 2, 5, 4), (1, 2, 5, 2), (2, 5, 4)):
        with pytest.raises(UserError, match=r"regions must be \[1, 2, R, 4\] for this clip"):
            network(clip, torch.rand(shape))
