"""ResNet-50 for video: its counts, its stems, and that it trains with every layer."""

from functools import partial

import pytest
import timm
import torch
from torch import nn

from baselines.layers import Rank1Conv3d
from stdcf import STDCFConv3d, set_dilation
from stdcf.complexity import _copy, _macs
from stdcf.errors import UserError
from stdcf.models import create_model
from stdcf.models.resnet3d import ResNet3d50, last_norms

STDCF = partial(STDCFConv3d, num_spatial_atoms=6, num_temporal_atoms=2)
LAYERS = {"regular": nn.Conv3d, "rank1": Rank1Conv3d, "stdcf": STDCF}
by_layer = pytest.mark.parametrize("layer", LAYERS)

# Channels² of the 16 convolutions 3×3, and how a layer's parameters differ from the 2D ones'.
SQUARES = 3 * 64**2 + 4 * 128**2 + 6 * 256**2 + 3 * 512**2
EXTRA = {
    "regular": (27 - 9) * SQUARES,
    "rank1": (9 + 3 - 9) * SQUARES,
    "stdcf": (6 * 2 - 9) * SQUARES + 16 * (6 * 9 + 2 * 3),
}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def gmacs(model: nn.Module, *shape: int) -> float:
    return _macs(_copy(model, "meta", plan="factored"), (1, 3, *shape)) / 1e9


def on_meta(**options: object) -> nn.Module:
    with torch.device("meta"):
        return create_model("resnet3d_50", **options)


@pytest.mark.parametrize(
    ("layer", "published", "published_gmacs"), [("regular", 46.96, 81.4), ("stdcf", 28.10, 50.5)]
)
def test_counts(layer: str, published: float, published_gmacs: float) -> None:
    model = on_meta(conv=LAYERS[layer])
    assert parameters(model) / 1e6 == pytest.approx(published, rel=0.005)
    assert gmacs(model, 8, 256, 256) == pytest.approx(published_gmacs, rel=0.01)


@by_layer
def test_parameters_are_the_2d_networks_and_those_over_time(layer: str) -> None:
    with torch.device("meta"):
        flat = timm.create_model("resnet50", num_classes=400)
    assert parameters(on_meta(conv=LAYERS[layer])) == parameters(flat) + EXTRA[layer]


def test_the_coefficients_of_the_last_stage_exceed_half_of_the_published_parameters() -> None:
    last = on_meta(conv=STDCF).layer4
    coefficients = sum(p.numel() for n, p in last.named_parameters() if "coefficients" in n)
    assert coefficients == 3 * 512 * 512 * 6 * 2 > 18.5e6 / 2


@pytest.mark.parametrize(
    ("stem", "time", "dilated"), [("2d", 1, False), ("3d", 3, False), ("conv", 3, True)]
)
def test_stems(stem: str, time: int, dilated: bool) -> None:
    model = on_meta(stem=stem)
    assert model.conv1.weight.shape == (64, 3, time, 7, 7)
    names = set_dilation(model, temporal=2, spatial=2)
    middles = [f"layer{i}.{j}.conv2" for i, n in enumerate((3, 4, 6, 3), start=1) for j in range(n)]
    assert names == (["conv1", *middles] if dilated else middles)
    assert model.conv1.dilation == ((2, 2, 2) if dilated else (1, 1, 1))


def test_the_stem_is_built_by_the_layer_only_where_asked() -> None:
    for stem, kind in (("3d", nn.Conv3d), ("conv", STDCFConv3d)):
        assert type(on_meta(conv=STDCF, stem=stem).conv1) is kind


@by_layer
def test_trains(layer: str) -> None:
    torch.manual_seed(0)
    model = create_model("resnet3d_50", conv=LAYERS[layer], num_classes=5, dropout=0.5)
    for norm in last_norms(model):
        # They start at 0, with no gradient behind them.
        nn.init.ones_(norm.weight)
    model(torch.randn(2, 3, 4, 32, 32)).square().mean().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert torch.isfinite(p.grad).all(), name
        assert p.grad.any(), name


@pytest.mark.parametrize("size", [(8, 32, 32), (1, 32, 32), (3, 40, 25), (4, 64, 64)])
def test_any_size_and_dilation_keeps_them(size: tuple[int, int, int]) -> None:
    model = on_meta(num_classes=7, in_channels=1).eval()
    clip = torch.empty(2, 1, *size, device="meta")
    expected = (2, 2048, size[0], -(-size[1] // 32), -(-size[2] // 32))
    assert model.forward_features(clip).shape == expected
    set_dilation(model, temporal=2, spatial=2)
    assert model.forward_features(clip).shape == expected
    assert model(clip).shape == (2, 7)


def test_dropout_stands_before_the_classifier() -> None:
    torch.manual_seed(0)
    model = ResNet3d50(num_classes=3, dropout=1.0)
    clip = torch.randn(2, 3, 2, 32, 32)
    assert torch.equal(model.train()(clip), model.fc.bias.expand(2, 3))
    assert not torch.equal(model.eval()(clip), model.fc.bias.expand(2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": "5d"}, "stem must be one of 2d, 3d, conv, not '5d'"),
        ({"dropout": 2}, "dropout must be a probability from 0 to 1, not 2"),
        ({"depth": 50}, "resnet3d_50 takes no option depth; its options are dropout, pretrained"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        on_meta(**options)
    assert "\n" not in str(raised.value)
