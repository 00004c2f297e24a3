"""Published checkpoints of TSN, TSM and TIN load and give what their authors' code gives."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.models.published import load_published
from baselines.models.tin_r50 import TIN
from baselines.models.tsm_r50 import TSM
from baselines.models.tsn_r50 import TSN
from stdcf.errors import UserError

CLASSES, FRAMES = 3, 4
BLOCKS = (3, 4, 6, 3)


def published_shapes(kind: str) -> dict[str, tuple[int, ...]]:
    """What a file of theirs holds, written out: torchvision's ResNet-50 with wrapped first 1×1s."""
    shapes: dict[str, tuple[int, ...]] = {
        "new_fc.weight": (CLASSES, 2048),
        "new_fc.bias": (CLASSES,),
    }

    def norm(name: str, channels: int) -> None:
        for field in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"base_model.{name}.{field}"] = (channels,)

    shapes["base_model.conv1.weight"] = (64, 3, 7, 7)
    norm("bn1", 64)
    channels = 64
    inner = {"tsn": "", "tsm": ".net", "tin": ".net2"}[kind]
    for stage, blocks in enumerate(BLOCKS, start=1):
        width = 32 * 2**stage
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            shapes[f"base_model.{at}.conv1{inner}.weight"] = (width, channels, 1, 1)
            shapes[f"base_model.{at}.conv2.weight"] = (width, width, 3, 3)
            shapes[f"base_model.{at}.conv3.weight"] = (4 * width, width, 1, 1)
            for i, number in ((1, width), (2, width), (3, 4 * width)):
                norm(f"{at}.bn{i}", number)
            if block == 0:
                shapes[f"base_model.{at}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                norm(f"{at}.downsample.1", 4 * width)
            if kind == "tin":
                nets = f"base_model.{at}.conv1.net1"
                fold = channels // 4
                for name, shape in (
                    ("biasnet.net.conv", (1, fold, 3)),
                    ("biasnet.net.fc", (FRAMES, FRAMES)),
                    ("biasnet.net.lastlayer", (2, FRAMES)),
                    ("weightnet.net.lastlayer", (2, fold, 3)),
                ):
                    shapes[f"{nets}.{name}.weight"] = shape
                    shapes[f"{nets}.{name}.bias"] = shape[:1]
            channels = 4 * width
    return {f"module.{name}": shape for name, shape in shapes.items()}


def checkpoint(kind: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in published_shapes(kind).items():
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        if name.endswith("running_var"):
            state[name] = drawn.abs() + 0.5
        elif len(shape) > 1:
            state[name] = drawn * math.sqrt(2 / math.prod(shape[1:]))
        else:
            state[name] = 0.3 * drawn + float("bn" in name and name.endswith("weight"))
    return state


def moved(x_NTCHW: Tensor, shift: int) -> Tensor:
    """out[t + shift] = in[t]."""
    out = torch.zeros_like(x_NTCHW)
    for t in range(x_NTCHW.shape[1]):
        if 0 <= t + shift < x_NTCHW.shape[1]:
            out[:, t + shift] = x_NTCHW[:, t]
    return out


def their_mixing(x_NTCHW: Tensor, state: dict[str, Tensor], at: str) -> Tensor:
    """TemporalDeform of deepcs233/TIN, with shift_div 4."""

    def weights(name: str) -> tuple[Tensor, Tensor]:
        return state[f"{at}.{name}.weight"], state[f"{at}.{name}.bias"]

    fold = x_NTCHW.shape[2] // 4
    pooled = x_NTCHW[:, :, :fold].mean((3, 4)).permute(0, 2, 1)
    hidden = F.conv1d(pooled, *weights("biasnet.net.conv"), padding=1).squeeze(1)
    hidden = F.linear(
        F.linear(hidden, *weights("biasnet.net.fc")).relu(), *weights("biasnet.net.lastlayer")
    )
    bias = 4 * (hidden.sigmoid() - 0.5)
    bias = torch.cat([bias, -bias], 1)
    scale = 2 * F.conv1d(pooled, *weights("weightnet.net.lastlayer"), padding=1).sigmoid()
    out = x_NTCHW.clone()
    size = fold // 4
    for n in range(len(x_NTCHW)):
        for group in range(4):
            channels = slice(group * size, (group + 1) * size)
            part = x_NTCHW[n : n + 1, :, channels]
            low = math.floor(bias[n, group].item())
            share = bias[n, group] - low
            mixed = (1 - share) * moved(part, low) + share * moved(part, low + 1)
            out[n, :, channels] = mixed[0] * scale[n, group % 2][:, None, None, None]
    return out


def their_scores(kind: str, clip_BCTHW: Tensor, state: dict[str, Tensor]) -> Tensor:
    state = {name.removeprefix("module."): value for name, value in state.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        fields = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"base_model.{name}.{field}"] for field in fields))

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"base_model.{name}.weight"], stride=stride, padding=padding)

    batch, _, frames = clip_BCTHW.shape[:3]
    x = conv(clip_BCTHW.transpose(1, 2).flatten(0, 1), "conv1", 2, 3)
    x = F.max_pool2d(norm(x, "bn1").relu(), 3, 2, 1)
    for stage, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            at, stride = f"layer{stage}.{block}", 2 if block == 0 and stage > 1 else 1
            y, inner = x.unflatten(0, (batch, frames)), ""
            if kind == "tin":
                y, inner = their_mixing(y, state, f"base_model.{at}.conv1.net1"), ".net2"
            elif kind == "tsm":
                y, inner = their_shift(y), ".net"
            y = norm(conv(y.flatten(0, 1), f"{at}.conv1{inner}"), f"{at}.bn1").relu()
            y = norm(conv(y, f"{at}.conv2", stride, 1), f"{at}.bn2").relu()
            y = norm(conv(y, f"{at}.conv3"), f"{at}.bn3")
            if block == 0:
                x = norm(conv(x, f"{at}.downsample.0", stride), f"{at}.downsample.1")
            x = (x + y).relu()
    features = x.mean((2, 3)).unflatten(0, (batch, frames))
    return F.linear(features, state["new_fc.weight"], state["new_fc.bias"]).mean(1)


def their_shift(x_NTCHW: Tensor) -> Tensor:
    """TemporalShift.shift of mit-han-lab/temporal-shift-module."""
    fold = x_NTCHW.shape[2] // 8
    out = torch.zeros_like(x_NTCHW)
    out[:, :-1, :fold] = x_NTCHW[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = x_NTCHW[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = x_NTCHW[:, :, 2 * fold :]
    return out


def ours(kind: str) -> nn.Module:
    if kind == "tin":
        return TIN(CLASSES, num_frames=FRAMES).double().eval()
    return {"tsn": TSN, "tsm": TSM}[kind](CLASSES).double().eval()


@pytest.mark.parametrize("kind", ["tsn", "tsm", "tin"])
def test_a_published_checkpoint_gives_the_authors_scores(kind: str) -> None:
    torch.manual_seed(0)
    state, model = checkpoint(kind), ours(kind)
    load_published(model, state)
    clip = torch.randn(2, 3, FRAMES, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = their_scores(kind, clip, state)
        got = model(clip)
    assert expected.std() > 0
    assert (got - expected).norm() / expected.norm() < 1e-12


def test_as_a_file_it_is_the_same(tmp_path: Path) -> None:
    model, state = ours("tsm"), checkpoint("tsm")
    file = tmp_path / "tsm.pth.tar"
    torch.save({"epoch": 50, "arch": "resnet50", "state_dict": state, "best_prec1": 47.2}, file)
    load_published(model, file)
    name = "module.base_model.layer2.1.conv1.net.weight"
    assert torch.equal(model.backbone.net.layer2[1].conv1.conv.weight, state[name])


@pytest.mark.parametrize(("kind", "other"), [("tsn", "tsm"), ("tsm", "tin"), ("tin", "tsn")])
def test_of_another_network(kind: str, other: str) -> None:
    model = ours(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match="the checkpoint is of another network: backbone"):
        load_published(model, checkpoint(other))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "no.pth"
    with pytest.raises(UserError, match="no checkpoint"):
        load_published(ours("tsn"), file)
    file.write_text("nothing")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_published(ours("tsn"), file)
