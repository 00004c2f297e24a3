"""What decompose, fuse and set_dilation leave alone, since they would make something else of it."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from stdcf import STDCFConv3d, decompose, fuse, set_dilation


class Causal(nn.Conv3d):
    """As diffusers' WanCausalConv3d."""

    def forward(self, x):
        return super().forward(F.pad(x, (0, 0, 0, 0, 2 * self.dilation[0], 0)))


class Standardised(nn.Conv3d):
    def forward(self, x):
        w = self.weight
        return self._conv_forward(x, w - w.mean((1, 2, 3, 4), keepdim=True), self.bias)


class InConvForward(nn.Conv3d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight.abs(), bias)


class PadsByItself(nn.Conv3d):
    """Causal in time, by the amounts that a padding mode gives to F.pad."""

    def __init__(self):
        super().__init__(4, 4, 3, padding=1, padding_mode="replicate")
        self._reversed_padding_repeated_twice = [1, 1, 1, 1, 2, 0]


class HoldsMore(nn.Conv3d):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.gain = nn.Parameter(torch.ones(()))


class Renamed(nn.Conv3d):
    """A subclass that computes what nn.Conv3d computes."""

    def extra_repr(self):
        return "renamed"


def conv(**options):
    return nn.Conv3d(4, 4, 3, padding=1, **options)


def patched():
    made = conv()
    made.forward = lambda x: 2 * nn.Conv3d.forward(made, x)
    return made


def hooked():
    made = conv()
    made.register_forward_hook(lambda module, args, out: 2 * out)
    return made


def causal_by_hook():
    made = nn.Conv3d(4, 4, 3, padding=(0, 1, 1))
    made.register_forward_pre_hook(lambda module, args: F.pad(args[0], (0, 0, 0, 0, 2, 0)))
    return made


def gradient_hooked():
    made = conv()
    made.weight.register_hook(lambda grad: 2 * grad)
    return made


STAYS = {
    "causal": (lambda: Causal(4, 4, 3, padding=(0, 1, 1)), "forward of its own"),
    "standardised": (lambda: Standardised(4, 4, 3, padding=1), "forward of its own"),
    "_conv_forward": (lambda: InConvForward(4, 4, 3, padding=1), "forward of its own"),
    "patched": (patched, "forward of its own"),
    "own padding": (PadsByItself, "pads in a way of its own"),
    "complex": (lambda: conv(dtype=torch.complex64), "complex"),
    "weight_norm": (lambda: parametrizations.weight_norm(conv()), "computed from others"),
    "orthogonal": (lambda: parametrizations.orthogonal(conv()), "computed from others"),
    "old spectral_norm": (lambda: nn.utils.spectral_norm(conv()), "computed from others"),
    "pruned": (lambda: prune.random_unstructured(conv(), "weight", 0.5), "computed from others"),
    "hook": (hooked, "hooks"),
    "pre-hook": (causal_by_hook, "hooks"),
    "gradient hook": (gradient_hooked, "hooks"),
    "more": (lambda: HoldsMore(4, 4, 3, padding=1), "more than a filter"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", STAYS)
def test_a_convolution_that_computes_something_else_stays_and_is_named(name):
    make, reason = STAYS[name]
    torch.manual_seed(0)
    net = nn.Sequential(make(), conv(dtype=torch.complex64 if name == "complex" else None))
    clip = torch.randn(1, 4, 6, 8, 8, dtype=net[1].weight.dtype)
    new, errors = decompose(net.eval(), 4, 2)
    assert reason in errors.skipped["0"]
    assert errors["0"] == 0
    assert "0" not in errors
    assert type(new[0]) is type(net[0])
    assert torch.equal(new[0](clip), net[0](clip))
    assert ("1" in errors) == (name != "complex")


def test_a_subclass_that_computes_the_same_is_taken():
    net = nn.Sequential(Renamed(4, 4, 3, padding=1, padding_mode="circular"))
    new, errors = decompose(net)
    assert isinstance(new[0], STDCFConv3d)
    assert errors["0"] < 1e-6
    assert errors.skipped == {}
    clip = torch.randn(1, 4, 5, 6, 6)
    torch.testing.assert_close(new(clip), net(clip), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_tied_parameters_stay_tied(parameter):
    a, b, alone = conv(), conv(), conv()
    setattr(b, parameter, getattr(a, parameter))
    net = nn.Sequential(a, b, alone)
    new, errors = decompose(net)
    assert set(errors) == {"2"}
    assert set(errors.skipped) == {"0", "1"}
    assert getattr(new[0], parameter) is getattr(new[1], parameter)


class Gated(STDCFConv3d):
    def forward(self, x):
        return super().forward(x).sigmoid()


def test_fuse_leaves_and_names_what_it_cannot_reproduce():
    torch.manual_seed(0)
    plain, gated, hook = (kind(4, 4, 3, padding=1) for kind in (STDCFConv3d, Gated, STDCFConv3d))
    a, b = STDCFConv3d(4, 4, 3, padding=1), STDCFConv3d(4, 4, 3, padding=1)
    b.coefficients = a.coefficients
    hook.register_forward_hook(lambda module, args, out: 2 * out)
    net = nn.Sequential(plain, gated, hook, a, b)
    with pytest.warns(UserWarning, match=r"1 \(Gated has a forward of its own\), 2 \(it has hooks"):
        fused = fuse(net)
    assert set(fused.not_fused) == {"1", "2", "3", "4"}
    assert type(fused[0]) is nn.Conv3d
    assert fused[3].coefficients is fused[4].coefficients
    clip = torch.randn(1, 4, 5, 6, 6)
    torch.testing.assert_close(fused(clip), net(clip), rtol=1e-4, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not hasattr(fuse(nn.Sequential(plain)), "not_fused")


class PadsChild(nn.Module):
    """As causal convolutions are built where no subclass is made."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(4, 4, 3, padding=(0, 1, 1))

    def forward(self, x):
        return self.conv(F.pad(x, (0, 0, 0, 0, 2, 0)))


class PadsByMethod(PadsChild):
    def forward(self, x):
        return self.conv(self.time_padded(x))

    def time_padded(self, x):
        return torch.cat([x[:, :, :1], x[:, :, :1], x], 2)


class PadsByHand(PadsChild):
    """No name says that anything is padded."""

    def forward(self, x):
        return self.conv(torch.cat([x.new_zeros(*x.shape[:2], 2, *x.shape[3:]), x], 2))


class Cuts(nn.Module):
    """Off what a convolution padded on both sides gives at the end."""

    def forward(self, x):
        return x[:, :, :-2]


class CutsChild(nn.Module):
    def __init__(self, conv=nn.Conv3d):
        super().__init__()
        self.conv = conv(4, 4, 3, padding=(2, 1, 1))

    def forward(self, x):
        return self.conv(x)[:, :, :-2]


def pads_before(*between):
    conv = nn.Conv3d(4, 4, 3, padding=(0, 1, 1))
    return nn.Sequential(nn.Sequential(nn.ZeroPad3d((0, 0, 0, 0, 2, 0))), *between, conv)


PADDED = {
    "by hand": (PadsByHand, ".conv"),
    "cuts": (CutsChild, ".conv"),
    "cuts, stdcf": (lambda: CutsChild(STDCFConv3d), ".conv"),
    "cuts in a row": (
        lambda: nn.Sequential(nn.Conv3d(4, 4, 3, padding=(2, 1, 1)), Cuts()),
        ".0",
    ),
    "padded, then activated": (lambda: pads_before(nn.ReLU(), nn.Identity()), ".3"),
    "causal": (lambda: Causal(4, 4, 3, padding=(0, 1, 1)), ""),
    "own padding": (PadsByItself, ""),
    "pre-hook": (causal_by_hook, ""),
    "parent": (PadsChild, ".conv"),
    "parent's method": (PadsByMethod, ".conv"),
    "layer before": (
        lambda: nn.Sequential(
            nn.ReplicationPad3d((0, 0, 0, 0, 2, 0)), nn.Conv3d(4, 4, 3, padding=(0, 1, 1))
        ),
        ".1",
    ),
}


@pytest.mark.parametrize("name", PADDED)
def test_set_dilation_leaves_what_something_else_pads(name):
    """A causal output at frame t depends on no later frame, before and after."""
    make, inner = PADDED[name]
    net = nn.Sequential(make(), nn.Conv3d(4, 4, 3, padding=1))
    before = copy.deepcopy(net)
    changed = set_dilation(net, 2, 2)
    assert changed == ["1"]
    assert set(changed.skipped) == {f"0{inner}"}
    clip = torch.randn(1, 4, 6, 8, 8)
    assert torch.equal(net[0](clip), before[0](clip))
    later = clip.clone()
    later[:, :, 3:] = 0
    assert torch.equal(net[0](later)[:, :, :3], net[0](clip)[:, :, :3])


def test_set_dilation_takes_what_keeps_its_size_beside_others():
    """Branches that are put together, slices of other things, and a convolution without padding."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(), conv()

        def forward(self, x):
            return torch.cat([self.a(x), self.b(x)[:, :2]], 1)

    assert set_dilation(Branches(), 2, 2) == ["a", "b"]
    assert set_dilation(nn.Sequential(nn.Conv3d(4, 4, 3)), 2, 2) == ["0"]
    padded_earlier = nn.Sequential(nn.ZeroPad3d(1), nn.Conv3d(4, 4, 1), conv())
    assert set_dilation(padded_earlier, 2, 2) == ["2"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_set_dilation_takes_what_computes_its_weight():
    net = nn.Sequential(
        nn.utils.spectral_norm(conv()),
        nn.utils.weight_norm(conv()),
        prune.random_unstructured(conv(), "weight", 0.5),
        conv(padding_mode="replicate"),
        parametrizations.weight_norm(conv()),
    )
    assert set_dilation(net, 2, 2) == ["0", "1", "2", "3", "4"]
    assert net(torch.randn(1, 4, 8, 8, 8)).shape == (1, 4, 8, 8, 8)
    # What it set itself it takes again.
    assert set_dilation(net, 1, 1) == ["0", "1", "2", "3", "4"]
