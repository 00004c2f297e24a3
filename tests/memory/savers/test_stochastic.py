"""stochastic against plain autograd: whose gradients they are, on average too, and what is kept."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf import STDCFConv3d
from stdcf.errors import UserError
from stdcf.memory import measure_peak, predict_peak
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.stochastic import Frames
from stdcf.models import create_model

FRAMES = 8
CLIP = torch.randn(3, 1, FRAMES, 10, 12, generator=torch.Generator().manual_seed(2))
LABEL = torch.tensor([0, 2, 1])


class Network(nn.Module):
    """Convolutions over `time` frames, batch normalisation, a pool over frames, in-place ReLU."""

    def __init__(self, time=3, norm=True, conv=nn.Conv3d, pool=2):
        super().__init__()
        kernel, padding = (time, 3, 3), (time // 2, 1, 1)
        self.first, self.second = (conv(a, 8, kernel, padding=padding) for a in (1, 8))
        self.norm = nn.BatchNorm3d(8) if norm else nn.Identity()
        self.pool, self.head = nn.MaxPool3d((pool, 2, 2)), nn.Linear(8, 3)

    def forward(self, x):
        x = self.pool(F.relu(self.norm(self.first(x)), inplace=True))
        return self.head(F.silu(self.second(x)).mean((2, 3, 4)))


class Cut(Network):
    """The same, cut by hand: what leaves other frames than the kept ones is detached."""

    def __init__(self, frames, **options):
        super().__init__(**options)
        self.frames = frames

    def mask(self, x):
        mask = torch.zeros(x.shape[2], 1, 1, dtype=x.dtype)
        mask[self.frames.kept(x.shape[2])] = 1
        return mask

    def cut(self, x):
        mask = self.mask(x)
        return x * mask + (x * (1 - mask)).detach()

    def convolved(self, conv, x):
        part = conv(x * self.mask(x)) if x.requires_grad else conv(x)
        return self.cut(part + (conv(x) - part).detach())

    def forward(self, x):
        x = self.cut(self.norm(self.convolved(self.first, x)))
        x = self.cut(self.pool(self.cut(F.relu(x))))
        return self.head(self.cut(F.silu(self.convolved(self.second, x))).mean((2, 3, 4)))


def gradients(model, frames=None, clip=CLIP):
    model = copy.deepcopy(model).double().train()
    clip = clip.double()
    packing = Packing(keep=[*model.parameters(), *model.buffers(), clip])
    if frames is None:
        F.cross_entropy(model(clip), LABEL).backward()
    else:
        packing.packers.append(frames.pack)
        with frames.watching(model), packing.hooks():
            loss = F.cross_entropy(model(clip), LABEL)
        loss.backward()
    return {name: p.grad for name, p in model.named_parameters()}


def close(one, other, factor=1.0):
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, factor * other[name], rtol=1e-9, atol=1e-12)


def test_the_kept_frames_are_one_run_for_maps_of_every_length():
    frames = Frames(0.7, 0.5)
    assert frames.kept(16) == [0, 1, 2, 11, 12, 13, 14, 15]
    assert frames.kept(8) == [0, 5, 6, 7]
    assert frames.kept(1) == [0]
    assert len(Frames(0.99, 0.01).kept(16)) == 1


@pytest.mark.parametrize("start", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("keep", [0.25, 0.5, 0.8])
def test_gradients_are_those_of_a_network_that_is_cut_by_hand(start, keep):
    torch.manual_seed(0)
    model, cut = Network(), Cut(Frames(start, keep))
    cut.load_state_dict(model.state_dict())
    found, plain = gradients(model, Frames(start, keep)), gradients(model)
    close(found, gradients(cut))
    # The classifier sees all frames; the convolutions' gradients are others.
    close({"head.weight": found["head.weight"]}, plain)
    assert not torch.allclose(found["first.weight"], plain["first.weight"], rtol=0.01)


@pytest.mark.parametrize(
    "conv", [nn.Conv3d, partial(STDCFConv3d, num_temporal_atoms=1, plan="composed")]
)
def test_without_paths_between_frames_the_mean_of_all_parts_is_the_share_of_the_plain(conv):
    """Every frame is kept by as many starts as every other one."""
    torch.manual_seed(0)
    model = Network(time=1, norm=False, conv=conv, pool=1)
    starts = [(n + 0.5) / FRAMES for n in range(FRAMES)]
    all_of_them = [gradients(model, Frames(start, 0.25)) for start in starts]
    plain = gradients(model)
    mean = {name: sum(g[name] for g in all_of_them) / FRAMES for name in plain}
    head = {name: mean.pop(name) for name in [*mean] if name.startswith("head")}
    close(mean, plain, factor=0.25)
    close(head, plain)


def test_all_frames_are_the_plain_step_bit_for_bit(made, batch, learnt):
    for name in ("kth_cnn", "residual"):
        model, (clip, label) = made(name), batch()
        plain = learnt(model, "", clip, label)
        assert learnt(model, "stochastic=1", clip, label).same(plain)


def test_what_is_drawn_comes_from_torchs_generator(made):
    model = made("plain")

    def learnt(seed):
        model.zero_grad()
        torch.manual_seed(seed)
        clip = CLIP.repeat(1, 1, 2, 2, 2)
        learn(model, clip, LABEL, F.cross_entropy, parse_savers("stochastic=0.25"))
        return model.blocks[0][0].weight.grad.clone()

    assert torch.equal(learnt(1), learnt(1))
    assert not torch.equal(learnt(1), learnt(2))


@pytest.mark.parametrize("layer", ["regular", "stdcf"])
def test_what_is_kept_is_predicted_and_less(layer):
    conv = partial(STDCFConv3d, plan="composed") if layer == "stdcf" else nn.Conv3d
    network = partial(create_model, "kth_cnn", conv=conv)
    shape, asked = (4, 1, 16, 30, 40), {"device": "cpu", "memory_format": "channels_last_3d"}
    saver = ["stochastic=0.5"]
    real = measure_peak(network, shape, savers=saver, **asked)
    expected = predict_peak(network, shape, savers=saver, **asked)
    assert expected.peak_bytes == pytest.approx(real.peak_bytes, rel=0.01)
    # Of three layers most of the peak is one map that comes back, its gradient and its input's.
    assert real.peak_bytes < 0.87 * predict_peak(network, shape, **asked).peak_bytes


def test_in_a_deep_network_the_peak_falls_to_the_share_that_is_kept():
    """20 maps are saved, and 3 whole ones come and go."""

    def network():
        layers = [layer for _ in range(20) for layer in (nn.Conv3d(8, 8, 3, padding=1), nn.ReLU())]
        return nn.Sequential(nn.Conv3d(1, 8, 1), *layers, nn.AdaptiveAvgPool3d(1), nn.Flatten())

    shape = (2, 1, 16, 32, 32)
    plain = predict_peak(network, shape, device="cpu").peak_bytes
    for keep in (0.5, 0.25):
        found = predict_peak(network, shape, device="cpu", savers=[f"stochastic={keep}"]).peak_bytes
        assert keep < found / plain < keep + 4 / 20


@pytest.mark.parametrize("savers", ["bf16", "int8", "accumulate=2"])
def test_it_goes_with_other_savers(savers, made, batch, learnt):
    model, (clip, label) = made("kth_cnn"), batch()
    found = learnt(model, f"stochastic=0.5,{savers}", clip, label)
    assert all(torch.isfinite(gradient).all() for gradient in found.gradients.values())
    alone = learnt(model, savers, clip, label)
    assert found.tracker.peak_bytes < alone.tracker.peak_bytes


def test_a_network_without_frames_is_refused():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(CLIP[0].numel(), 3))
    with pytest.raises(UserError, match="stochastic saves nothing in Sequential"):
        learn(flat, CLIP, LABEL, F.cross_entropy, parse_savers("stochastic=0.5"))
