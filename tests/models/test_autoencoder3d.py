"""The reconstruction network of Figure 2."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines.layers import Rank1Conv3d
from stdcf import STDCFConv3d, set_dilation
from stdcf.errors import UserError
from stdcf.models import create_model
from suites.engine.catalog import build

LAYERS = {"regular": nn.Conv3d, "rank1": Rank1Conv3d, "stdcf": STDCFConv3d}
by_layer = pytest.mark.parametrize("layer", LAYERS)


@pytest.mark.parametrize(
    ("layer", "filters"),
    [
        ("regular", 27 * (16 + 16 * 16 + 16)),
        ("rank1", 9 * (16 + 16 * 16 + 16) + 3 * (2 * 16 * 16 + 1) + 1),
        ("stdcf", 6 * (16 + 16 * 16 + 16) + 3 * (3 * 9 + 2 * 3)),
    ],
)
def test_parameters(layer: str, filters: int) -> None:
    model = create_model("autoencoder3d", conv=LAYERS[layer])
    norms, last_bias = 2 * 2 * 16, 1
    assert sum(p.numel() for p in model.parameters()) == filters + norms + last_bias


@by_layer
@pytest.mark.parametrize("size", [(16, 32, 32), (3, 7, 9), (1, 1, 2)])
@pytest.mark.parametrize("pool", [1, 2, (1, 2, 4)])
def test_gives_back_a_clip_of_the_same_shape(layer: str, size: tuple, pool: object) -> None:
    model = create_model("autoencoder3d", conv=LAYERS[layer], in_channels=2, pool=pool)
    clip = torch.randn(2, 2, *size)
    assert model(clip).shape == clip.shape
    model.eval()
    set_dilation(model, temporal=2, spatial=2)
    assert model(clip).shape == clip.shape


def test_the_bottleneck_is_as_small_as_said() -> None:
    model = create_model("autoencoder3d", widths=(5, 16), pool=(2, 4, 4))
    assert model.encode(torch.randn(1, 1, 16, 32, 32)).shape == (1, 5, 8, 8, 8)
    # Rounded up at the end of a clip that the pool does not divide, as the interpolation needs.
    assert model.encode(torch.randn(1, 1, 3, 9, 2)).shape == (1, 5, 2, 3, 1)


@by_layer
def test_learns_to_reconstruct(layer: str) -> None:
    torch.manual_seed(0)
    clip = F.interpolate(torch.rand(4, 1, 2, 4, 4), (8, 16, 16), mode="trilinear")
    model = create_model("autoencoder3d", conv=LAYERS[layer])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        loss = F.mse_loss(model(clip), clip)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * clip.var()


def test_build_needs_no_classes() -> None:
    model = build("autoencoder3d", num_classes=6, layer="stdcf")
    assert model(torch.randn(1, 1, 4, 8, 8)).shape == (1, 1, 4, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (16,)}, r"widths must be two numbers of channels, not \(16,\)"),
        ({"kernel_size": 4}, "kernel_size must be odd, .*not 4"),
        ({"pool": 0}, "pool must be at least 1, not 0"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_model("autoencoder3d", **options)
