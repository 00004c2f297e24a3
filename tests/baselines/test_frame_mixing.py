"""TSM's shift and TIN's interlacing against direct index computations."""

import math

import pytest
import torch
from torch import Tensor, nn

from baselines.models.tin_r50 import OffsetNet, TemporalInterlace, WeightNet, interlace
from baselines.models.tsm_r50 import TSM, TemporalShift


def shifted(x: Tensor, fraction: int = 8) -> Tensor:
    """Frame by frame and channel by channel."""
    y = torch.zeros_like(x)
    frames, channels = x.shape[1:3]
    for t in range(frames):
        for c in range(channels):
            if c < channels // fraction:
                source = t + 1
            elif c < 2 * (channels // fraction):
                source = t - 1
            else:
                source = t
            if 0 <= source < frames:
                y[:, t, c] = x[:, source, c]
    return y


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("channels", [16, 20, 7])
def test_shift(frames: int, channels: int) -> None:
    x = torch.randn(2, frames, channels, 3, 4)
    assert torch.equal(TemporalShift(channels)(x), shifted(x))


def test_the_shift_is_in_each_residual_branch_and_leaves_the_shortcut() -> None:
    torch.manual_seed(0)
    model = TSM(num_classes=3).eval()
    net = model.backbone.net
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    clip = torch.randn(2, 3, 3, 32, 32)

    def branch(block: nn.Module, x: Tensor) -> Tensor:
        x = shifted(x.unflatten(0, (2, 3))).flatten(0, 1)
        x = block.bn1(block.conv1.conv(x)).relu()
        x = block.bn2(block.conv2(x)).relu()
        return block.bn3(block.conv3(x))

    with torch.no_grad():
        x = net.maxpool(net.bn1(net.conv1(clip.transpose(1, 2).flatten(0, 1))).relu())
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            for block in stage:
                shortcut = x if block.downsample is None else block.downsample(x)
                x = (branch(block, x) + shortcut).relu()
        expected = model.fc(x.mean((2, 3)).unflatten(0, (2, 3)).mean(1))
        torch.testing.assert_close(model(clip), expected)


def interlaced(x: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """The authors' kernel: out[t + shift] = in[t] at both whole shifts around, in proportion."""
    batch, frames, channels = x.shape[:3]
    groups = offsets.shape[1]
    y = torch.zeros_like(x)
    for b in range(batch):
        for c in range(channels):
            g = c // (channels // groups)
            for t in range(frames):
                shift = float(offsets[b, g])
                low = math.floor(shift)
                for whole, share in ((low, low + 1 - shift), (low + 1, shift - low)):
                    if 0 <= t + whole < frames:
                        y[b, t + whole, c] += share * x[b, t, c]
            for t in range(frames):
                y[b, t, c] *= weights[b, g, t]
    return y


def test_interlace() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, 8, 2, 3, dtype=torch.float64)
    offsets = torch.tensor(
        [[1.0, -1.0, 0.0, 0.25], [2.75, -2.75, 7.0, -0.5], [-3.0, 5.5, 1e-3, -6.0]]
    )
    weights = 2 * torch.rand(3, 4, 6)
    expected = interlaced(x, offsets, weights)
    torch.testing.assert_close(interlace(x, offsets, weights), expected, rtol=1e-6, atol=1e-6)


def test_interlace_learns_where_to_look() -> None:
    """The gradient of linear interpolation is the difference of the two frames."""
    x = torch.tensor([0.0, 1.0, 4.0, 9.0]).view(1, 4, 1, 1, 1)
    offset = torch.tensor([[0.5]], requires_grad=True)
    y = interlace(x, offset, torch.ones(1, 1, 4))
    (grad,) = torch.autograd.grad(y[0, 1], offset)
    # Halfway between frames 0 and 1; moved on by more it comes nearer to frame 0.
    assert y[0, 1].item() == pytest.approx(0.5)
    assert grad.item() == pytest.approx(0.0 - 1.0)


def test_the_module_interlaces_a_quarter_with_what_its_networks_say() -> None:
    torch.manual_seed(0)
    module = TemporalInterlace(32, num_frames=4)
    x = torch.randn(2, 4, 32, 3, 3)
    descriptor = x[:, :, :8].mean((3, 4)).transpose(1, 2)
    offsets, weights = module.offset_net(descriptor), module.weight_net(descriptor)
    y = module(x)
    assert torch.equal(y[:, :, 8:], x[:, :, 8:])
    expected = interlaced(x[:, :, :8], offsets.detach(), weights.detach())
    torch.testing.assert_close(y[:, :, :8], expected)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 16])
def test_offsets_and_weights_stay_in_range_and_mirror(frames: int) -> None:
    torch.manual_seed(0)
    offset_net, weight_net = OffsetNet(8, frames), WeightNet(8)
    descriptor = 30 * torch.randn(100, 8, frames)
    offsets, weights = offset_net(descriptor), weight_net(descriptor)
    assert offsets.shape == (100, 4)
    assert weights.shape == (100, 4, frames)
    assert torch.equal(offsets[:, :2], -offsets[:, 2:])
    assert torch.equal(weights[:, :2], weights[:, 2:])
    # 4·(sigmoid − ½), at any number of frames.
    assert 1 < offsets.abs().max() <= 2
    hidden = offset_net.conv(descriptor).squeeze(1)
    logits = offset_net.fc2(offset_net.fc1(hidden).relu())
    torch.testing.assert_close(offsets[:, :2], 4 / (1 + (-logits).exp()) - 2)
    assert weights.min() >= 0
    assert 1.5 < weights.max() <= 2


@pytest.mark.parametrize("frames", [1, 4, 8, 16])
def test_training_starts_near_half_a_frame(frames: int) -> None:
    offset_net = OffsetNet(8, frames)
    assert offset_net.fc2.bias.tolist() == pytest.approx([0.5108, 0.5108])
    nn.init.zeros_(offset_net.fc2.weight)
    offsets = offset_net(torch.randn(1, 8, frames))
    expected = torch.tensor([[0.5, 0.5, -0.5, -0.5]])
    torch.testing.assert_close(offsets, expected, rtol=0, atol=1e-4)
    assert WeightNet(8)(torch.zeros(1, 8, 8)).eq(1).all()
