"""The rank-1 layer: parameters, parts, constructor (its arithmetic is in tests/properties)."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

from baselines.layers import Rank1Conv3d


def test_constructor_is_conv3ds() -> None:
    ours, theirs = (inspect.signature(cls).parameters for cls in (Rank1Conv3d, nn.Conv3d))
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]


@pytest.mark.parametrize("groups", [1, 2])
def test_parameters(groups: int) -> None:
    layer = Rank1Conv3d(8, 12, (3, 5, 7), groups=groups)
    assert layer.spatial.weight.shape == (12, 8 // groups, 1, 5, 7)
    assert layer.temporal.weight.shape == (12, 12 // groups, 3, 1, 1)
    expected = 12 * 8 // groups * 35 + 12 * 12 // groups * 3
    assert sum(p.numel() for p in layer.parameters()) == expected + 2 * 12
    layer = Rank1Conv3d(8, 12, (3, 5, 7), groups=groups, bias=False)
    assert sum(p.numel() for p in layer.parameters()) == expected


def test_parts() -> None:
    layer = Rank1Conv3d(2, 3, 3)
    assert layer.parts() == {
        "spatial": [layer.spatial.weight],
        "temporal": [layer.temporal.weight],
        "joint": [],
    }


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"padding": "same", "dilation": (2, 1, 1)},
        {"padding": (2, 0, 0), "stride": (2, 1, 1), "groups": 2},
        {"padding": 1, "padding_mode": "replicate"},
    ],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_the_temporal_filter_is_applied_as_conv3d_applies_it(
    options: dict[str, object], memory_format: torch.memory_format
) -> None:
    temporal = Rank1Conv3d(4, 6, 3, **options).double().temporal
    x = torch.randn(2, 6, 7, 5, 4, dtype=torch.float64).to(memory_format=memory_format)
    ours = x.clone().requires_grad_()
    theirs = x.clone().requires_grad_()
    y, expected = temporal(ours), nn.Conv3d._conv_forward(temporal, theirs, *temporal.parameters())
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(
        torch.autograd.grad(y.square().sum(), [ours, *temporal.parameters()]),
        torch.autograd.grad(expected.square().sum(), [theirs, *temporal.parameters()]),
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"groups": 2}, "groups"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": (3, 3)}, "kernel_size"),
        ({"stride": 0}, "stride"),
        ({"dilation": 0}, "dilation"),
        ({"padding": (1, -1, 1)}, "padding"),
        ({"padding": "full"}, "padding"),
        ({"padding": "same", "stride": (2, 1, 1)}, "strided"),
        ({"padding_mode": "mirror"}, "padding_mode"),
    ],
)
def test_arguments_that_make_no_convolution(options: dict[str, object], named: str) -> None:
    arguments = {"in_channels": 3, "out_channels": 4, "kernel_size": 3} | options
    with pytest.raises(ValueError, match=named):
        Rank1Conv3d(**arguments)


def test_refused_dilation_leaves_both_convolutions() -> None:
    layer = Rank1Conv3d(2, 3, (2, 3, 3), padding="valid")
    for temporal, spatial in ((2, 2), (0, 2), (2, 0)):
        with pytest.raises(ValueError, match=r"padding|dilation"):
            layer.set_dilation(temporal, spatial)
        assert (layer.spatial.dilation, layer.spatial.padding) == ((1, 1, 1), "valid")
        assert (layer.temporal.dilation, layer.temporal.padding) == ((1, 1, 1), "valid")


def test_travels() -> None:
    layer = Rank1Conv3d(4, 6, 3, padding=1, groups=2)
    x = torch.randn(2, 4, 5, 6, 7)
    expected = layer(x)
    fresh = Rank1Conv3d(4, 6, 3, padding=1, groups=2)
    fresh.load_state_dict(layer.state_dict())
    for other in (fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    layer.to(memory_format=torch.channels_last_3d)
    got = layer(x.contiguous(memory_format=torch.channels_last_3d))
    assert torch.allclose(got, expected, atol=1e-5)
    assert Rank1Conv3d(4, 6, 3, device="meta").spatial.weight.is_meta
