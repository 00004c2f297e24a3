"""STDCFConv3d is a leaf of torch.fx's graphs, as nn.Conv3d is."""

import pytest
import torch
from torch import fx, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from stdcf import STDCFConv3d
from stdcf.models import create_model


class Two(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.stem = nn.Sequential(conv(1, 4, 3, padding=1), nn.ReLU())
        self.body = conv(4, 4, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        return x + self.body(x).relu()


def nodes(graph):
    return [(node.op, str(node.target)) for node in graph.nodes]


def test_symbolic_trace_gives_the_graph_of_dense_layers():
    traced = fx.symbolic_trace(Two(STDCFConv3d))
    assert nodes(traced.graph) == nodes(fx.symbolic_trace(Two(nn.Conv3d)).graph)
    assert isinstance(traced.body, STDCFConv3d)


def test_a_traced_network_computes_and_learns_the_same():
    model = Two(STDCFConv3d)
    clip = torch.randn(2, 1, 4, 6, 6)
    gradients = []
    for net in (model, fx.symbolic_trace(model)):
        model.zero_grad()
        out = net(clip)
        out.square().sum().backward()
        gradients.append([out.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", ["kth_cnn", "resnet3d_50"])
def test_torchvisions_extractor_names_the_nodes_of_dense_layers(name):
    built = [create_model(name, conv=c, num_classes=3).eval() for c in (STDCFConv3d, nn.Conv3d)]
    stdcf, dense = (get_graph_node_names(model) for model in built)
    assert stdcf == dense
    model = built[0]
    layer = next(n for n, m in model.named_modules() if isinstance(m, STDCFConv3d))
    channels = next(model.parameters()).shape[1] if name == "kth_cnn" else 3
    clip = torch.randn(1, 1 if name == "kth_cnn" else channels, 8, 32, 32)
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, a, out: seen.append(out))
    with torch.no_grad():
        model(clip)
        handle.remove()
        found = create_feature_extractor(model, {layer: "map"})(clip)["map"]
    assert torch.equal(found, seen[0])
