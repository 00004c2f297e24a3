"""Every peer goes forward and backward, at any size it says it takes, with every layer it takes."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from baselines.models.tin_r50 import OffsetNet
from stdcf import set_dilation
from stdcf.errors import UserError
from stdcf.memory import predict_peak
from stdcf.stages.apply import apply_stage
from stdcf.stages.stage import Stage
from suites.engine.catalog import build

FLAT = ("tsn_r50", "trn_r50", "tsm_r50", "tin_r50")
DEEP = ("r2plus1d_34", "slowfast_r50_8x8", "i3d_r50", "i3d_gcn_r50")
LAYERS = ("regular", "rank1", "stdcf")
CASES = [
    *((name, None, {}) for name in (*FLAT, *DEEP)),
    *((name, layer, {}) for name in DEEP for layer in LAYERS[1:]),
    *(("i3d_r50", layer, {"inflate": "3x3x3", "non_local": 5}) for layer in LAYERS),
]
# Convolutions over space and time, which the layer builds.
BUILT = {"r2plus1d_34": 33, "slowfast_r50_8x8": 1, "i3d_r50": 1, "i3d_gcn_r50": 1}


def small(name: str, frames: int, **options: Any) -> nn.Module:
    if name in ("trn_r50", "tin_r50"):
        options["num_frames"] = frames
    return build(name, num_classes=5, **options)


@pytest.mark.parametrize(("name", "layer", "options"), CASES)
def test_trains(name: str, layer: str | None, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = small(name, 4, layer=layer, in_channels=1, **options)
    for module in model.modules():
        # Some start at 0, with no gradient behind them.
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.ones_(module.weight)
        # And a ReLU of four units may let none through.
        if isinstance(module, OffsetNet):
            nn.init.ones_(module.fc1.bias)
    scores = model(torch.randn(2, 1, 4, 32, 32))
    assert scores.shape == (2, 5)
    scores.square().mean().backward()
    for parameter_name, p in model.named_parameters():
        assert p.grad is not None, parameter_name
        assert torch.isfinite(p.grad).all(), parameter_name
        # A bias before BatchNorm or softmax changes nothing.
        assert p.grad.any() or parameter_name.endswith("bias"), parameter_name


@pytest.mark.parametrize("name", [*FLAT, *DEEP])
@pytest.mark.parametrize("size", [(2, 64, 32), (5, 33, 47), (8, 32, 32)])
def test_any_size(name: str, size: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        model = small(name, size[0]).eval()
        assert model(torch.empty(3, 3, *size)).shape == (3, 5)


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("layer", [None, "regular"])
def test_dilation_keeps_sizes(name: str, layer: str | None) -> None:
    with torch.device("meta"):
        model = small(name, 8, layer=layer).eval()
    sizes = _sizes(model)
    changed = set_dilation(model, temporal=2, spatial=2)
    assert _sizes(model) == sizes
    # R(2+1)D's own stem is two convolutions, of space and of time, that nothing dilates.
    assert len(changed) == BUILT[name] - (name == "r2plus1d_34" and layer is None)


def test_r2plus1d_trains_by_parts() -> None:
    with torch.device("meta"):
        model = small("r2plus1d_34", 8)
    apply_stage(model, Stage(name="t", trains=("temporal",), dilation=(2, 1), epochs=1, lr=1.0))
    first, _, _, second = model.layer3[1].conv2[0]
    assert not first.weight.requires_grad
    assert second.weight.requires_grad
    assert first.dilation == (1, 1, 1)
    assert second.dilation == (2, 1, 1)
    assert second.padding == (2, 0, 0)


def _sizes(model: nn.Module) -> list[torch.Size]:
    found: list[torch.Size] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, out: found.append(out.shape))
        for module in model.modules()
        if isinstance(module, nn.Conv3d)
    ]
    model(torch.empty(1, 3, 8, 64, 64, device="meta"))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", FLAT)
def test_2d_networks_take_no_layer(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} has no 3D convolution and takes no layer"):
        build(name, num_classes=5, layer="stdcf")


@pytest.mark.parametrize("name", ["trn_r50", "tin_r50"])
def test_another_number_of_frames(name: str) -> None:
    with torch.device("meta"):
        model = small(name, 8)
        with pytest.raises(UserError, match=r"was built for 8 frames and got 4; give num_frames"):
            model(torch.empty(1, 3, 4, 32, 32))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tsm_r50", {"depth": 3}, "tsm_r50 takes no option depth; its options are dropout, pre"),
        ("tin_r50", {"num_frames": 0}, "num_frames must be at least 1, not 0"),
        ("trn_r50", {"num_frames": 1}, "relations need num_frames of at least 2"),
        ("i3d_r50", {"non_local": 3}, "non_local must be one of 0, 5, 10, not 3"),
        ("i3d_r50", {"inflate": "1x1x1"}, "inflate must be one of 3x1x1, 3x3x3, not '1x1x1'"),
        ("i3d_r50", {"last_stride": 4}, "last_stride must be one of 1, 2, not 4"),
        ("i3d_gcn_r50", {"grid": ()}, "grid must be numbers of at least 1"),
        ("r2plus1d_34", {"dropout": -1}, "dropout must be a probability from 0 to 1, not -1"),
        ("r2plus1d_18", {}, "unknown model 'r2plus1d_18'; there are .*r2plus1d_34"),
    ],
)
def test_wrong_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised, torch.device("meta"):
        build(name, num_classes=5, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["tin_r50", "trn_r50", "i3d_gcn_r50", "slowfast_r50_8x8"])
def test_travels(name: str) -> None:
    torch.manual_seed(0)
    model = small(name, 4).eval()
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        expected = model(clip)
        fresh = small(name, 4).eval()
        fresh.load_state_dict(model.state_dict())
        for other in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(clip), expected)


@pytest.mark.parametrize("name", ["tin_r50", "trn_r50", "i3d_gcn_r50"])
def test_its_memory_can_be_predicted(name: str) -> None:
    report = predict_peak(lambda: small(name, 4), (2, 3, 4, 32, 32), autocast="bfloat16")
    with torch.device("meta"):
        weights = sum(4 * p.numel() for p in small(name, 4).parameters())
    # Parameters, gradients and Adam's two moments.
    assert 4 * weights < report.peak_bytes < 7 * weights
