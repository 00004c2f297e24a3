"""ImageNet weights in 3D networks, against the 2D network on a clip of one repeated frame."""

import pickle
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.layers import Rank1Conv3d
from stdcf import STDCFConv3d
from stdcf.errors import UserError
from stdcf.models import create_model
from stdcf.models.inflate import imagenet_weights
from suites.engine.catalog import build


@pytest.fixture(scope="module")
def flat() -> nn.Module:
    """A 2D ResNet-50 none of whose numbers are a fresh network's."""
    torch.manual_seed(0)
    net = timm.create_model("resnet50").eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.2, 0.2)
    return net


@pytest.fixture(scope="module")
def file(flat: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(flat.state_dict(), path)
    return path


def repeated(frame: Tensor, times: int) -> Tensor:
    return frame.unsqueeze(2).expand(-1, -1, times, -1, -1)


@pytest.mark.parametrize(
    ("model", "options", "frames"),
    [
        # 16 convolutions over 3 frames reach 16 frames; the middle one of 33 sees no padding.
        ("resnet3d_50", {}, 33),
        ("resnet3d_50", {"layer": "rank1"}, 33),
        ("resnet3d_50", {"layer": "stdcf", "layer_options": {"num_spatial_atoms": 9}}, 33),
        # 2 by the stem, 3 by the first stage and 1 by the pool that halves time; then 6 of those.
        ("i3d_r50", {"last_stride": 2}, 41),
        ("i3d_r50", {"last_stride": 2, "inflate": "3x3x3", "non_local": 5}, 41),
    ],
)
def test_features_of_a_repeated_frame_are_the_2d_networks(
    flat: nn.Module, file: Path, model: str, options: dict[str, Any], frames: int
) -> None:
    inflated = build(model, num_classes=3, pretrained=str(file), **options).eval()
    torch.manual_seed(1)
    frame = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = flat.forward_features(frame)
        features = inflated.forward_features(repeated(frame, frames))
    middle = features[:, :, features.shape[2] // 2]
    torch.testing.assert_close(middle, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))
    assert not torch.allclose(features[:, :, 0], expected, rtol=1e-2)


@pytest.mark.parametrize(
    "layer",
    [
        Rank1Conv3d(6, 8, (3, 3, 3), padding=1),
        Rank1Conv3d(6, 8, (5, 3, 3), padding=(2, 1, 1), groups=2),
        STDCFConv3d(6, 8, 3, padding=1, num_spatial_atoms=9),
        STDCFConv3d(6, 8, (5, 3, 3), padding=(2, 1, 1), num_spatial_atoms=12, groups=2),
        STDCFConv3d(6, 8, 3, padding=1, num_spatial_atoms=9, num_temporal_atoms=4, bias=False),
    ],
    ids=str,
)
def test_a_layer_on_a_repeated_frame(layer: Any) -> None:
    torch.manual_seed(0)
    groups = layer.groups if isinstance(layer, STDCFConv3d) else layer.spatial.groups
    weight = torch.randn(8, 6 // groups, 3, 3)
    layer.inflate(weight)
    frame = torch.randn(2, 6, 7, 5)
    expected = F.conv2d(frame, weight, padding=1, groups=groups)
    got = layer(repeated(frame, 9))[:, :, 4]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_fewer_atoms_are_the_best_fit() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 6, 3, 3)
    layer = STDCFConv3d(6, 8, 3, num_spatial_atoms=4, num_temporal_atoms=2)
    layer.inflate(weight)
    u, s, v = torch.linalg.svd(weight.reshape(48, 9), full_matrices=False)
    best = (u[:, :4] * s[:4]) @ v[:4]
    composed = layer.compose_weight()
    for t in range(3):
        torch.testing.assert_close(composed[:, :, t].reshape(48, 9), best / 3, rtol=1e-4, atol=1e-5)


def test_atoms_that_nothing_needs_keep_their_draw_and_can_learn() -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(6, 8, 3, num_spatial_atoms=4, num_temporal_atoms=2)
    drawn = layer.temporal_atoms[1].clone()
    layer.inflate(torch.randn(8, 6, 3, 3))
    assert torch.equal(layer.temporal_atoms[1], drawn)
    unused = layer.coefficients.unflatten(2, (4, 2))[..., 1]
    assert not unused.any()
    layer(torch.randn(1, 6, 4, 5, 5)).square().sum().backward()
    assert layer.coefficients.grad.unflatten(2, (4, 2))[..., 1].all()


def test_2d_networks_take_them_as_they_are(flat: nn.Module, file: Path) -> None:
    clip = torch.randn(2, 3, 3, 32, 32)
    for name in ("tsn_r50", "trn_r50"):
        model = build(name, num_classes=4, pretrained=file, **_frames(name, 3)).eval()
        with torch.no_grad():
            features = model.backbone(clip)
            for t in range(3):
                expected = flat.forward_head(flat.forward_features(clip[:, :, t]), pre_logits=True)
                torch.testing.assert_close(features[:, t], expected)


def _frames(name: str, number: int) -> dict[str, int]:
    return {"num_frames": number} if name == "trn_r50" else {}


@pytest.mark.parametrize("name", ["tsm_r50", "tin_r50"])
def test_what_is_added_to_a_2d_network_leaves_its_weights(
    flat: nn.Module, file: Path, name: str
) -> None:
    model = build(name, num_classes=4, pretrained=file)
    loaded = model.backbone.net.layer3[2].conv1.conv.weight
    assert torch.equal(loaded, flat.layer3[2].conv1.weight)


def test_gray_clips_see_the_sum_of_the_colour_filters(flat: nn.Module, file: Path) -> None:
    model = create_model("resnet3d_50", in_channels=1, num_classes=2, pretrained=file)
    gray = torch.randn(1, 1, 16, 16)
    expected = flat.conv1(gray.expand(-1, 3, -1, -1))
    got = model.conv1(gray.unsqueeze(2))[:, :, 0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_the_classifier_stays_fresh(file: Path) -> None:
    for classes in (3, 1000):
        torch.manual_seed(0)
        fresh = create_model("resnet3d_50", num_classes=classes)
        torch.manual_seed(0)
        loaded = create_model("resnet3d_50", num_classes=classes, pretrained=file)
        assert torch.equal(fresh.fc.weight, loaded.fc.weight)
        assert not torch.equal(fresh.bn1.weight, loaded.bn1.weight)


def test_files_of_other_kinds(flat: nn.Module, file: Path, tmp_path: Path) -> None:
    state = flat.state_dict()
    expected = imagenet_weights(file)
    safetensors.torch.save_file(state, tmp_path / "resnet50.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "ddp.pth")
    other = torchvision.models.resnet50()
    other.load_state_dict(state)
    torch.save(other.state_dict(), tmp_path / "torchvision.pth")
    for name in ("resnet50.safetensors", "ddp.pth", "torchvision.pth"):
        weights = imagenet_weights(tmp_path / name)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(value, expected[key]) for key, value in weights.items())


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "part.pth")
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(pytest.fail))
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name, message in (
        ("part.pth", r"part.pth holds no ResNet-50: bn1.weight and \d+ more missing"),
        ("resnet18.pth", r"resnet18.pth holds no ResNet-50: layer1.0.conv1.weight and"),
        ("list.pth", "list.pth cannot be read as weights"),
        ("code.pth", "code.pth cannot be read as weights"),
        ("text.pth", "text.pth cannot be read as weights"),
        ("text.safetensors", "text.safetensors cannot be read as weights"),
        ("absent.pth", "no file .*absent.pth with ImageNet weights; give pretrained=FILE or True"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            create_model("resnet3d_50", num_classes=2, pretrained=tmp_path / name)
        assert "\n" not in str(raised.value), name


def test_offline_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise OSError("[Errno -2] Name or service not known\nand more")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", pytest.fail)
    for name in ("resnet3d_50", "i3d_r50", "tsn_r50"):
        with pytest.raises(UserError) as raised:
            build(name, num_classes=2, pretrained=True)
        assert str(raised.value) == (
            "no ImageNet weights from huggingface.co/timm/resnet50.tv_in1k (OSError: [Errno -2] "
            "Name or service not known); go online, or give a file of ResNet-50 weights as "
            "pretrained=FILE"
        )


def test_timms_weights_are_taken_from_its_cache(
    flat: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "model.safetensors"
    safetensors.torch.save_file(flat.state_dict(), cached)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", pytest.fail)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a: str(cached))
    model = create_model("resnet3d_50", num_classes=2, pretrained=True)
    assert torch.equal(model.layer2[1].conv3.weight[..., 0, 0, 0], _flat_filter(flat))


def _flat_filter(flat: nn.Module) -> Tensor:
    return flat.layer2[1].conv3.weight[..., 0, 0]


def test_a_layer_that_cannot_take_them_is_named(file: Path) -> None:
    class Strange(nn.Module):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__()

    with pytest.raises(UserError, match=r"layer1.0.conv2: Strange cannot start from 2D weights"):
        create_model("resnet3d_50", conv=Strange, num_classes=2, pretrained=file)
