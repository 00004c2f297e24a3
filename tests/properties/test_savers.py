"""Every saver against plain autograd, on generated networks: the same bits where it claims them,
else within its bound, else a refusal; never wrong in silence.

Twenty networks in CI; STDCF_NETWORKS=500 pytest tests/properties/test_savers.py is the long one.
"""

import copy
import os
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory.savers import learn, parse_savers
from stdcf.models.dropout import ByteMaskDropout

NETWORKS = int(os.environ.get("STDCF_NETWORKS", "20"))
WIDTH = 8
EXACT = (
    "recompute",
    "checkpoint",
    "offload",
    "recompute,checkpoint",
    "recompute,checkpoint,offload",
)
# Of int8: gradients of values that are off by 1/255 of their range, through a few layers.
INT8_BOUND = 0.15


@dataclass(frozen=True)
class Plan:
    """One block."""

    norm: str = "none"
    activation: str = "relu"
    residual: str = "none"
    dropout: str = "none"
    mask: str = "none"
    state: str = "none"
    first: str = "conv"
    frozen: bool = False
    shared: bool = False
    pair: bool = False


PLANS = st.builds(
    Plan,
    norm=st.sampled_from(["none", "batch", "batch eval", "group", "instance", "layer"]),
    activation=st.sampled_from(["relu", "relu_", "silu", "silu_", "gelu", "leaky", "hardswish_"]),
    residual=st.sampled_from(["none", "add", "add", "add_"]),
    dropout=st.sampled_from(["none", "none", "plain", "channel", "byte"]),
    mask=st.sampled_from(["none", "none", "times", "fill", "attention"]),
    state=st.sampled_from(["none", "none", "average", "spectral", "count"]),
    first=st.sampled_from(["conv", "conv", "conv", "leaky_"]),
    frozen=st.booleans(),
    shared=st.booleans(),
    pair=st.booleans(),
)


class Average(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH, 1, 1, 1))
        self.calls = 0

    def forward(self, x, counts):
        self.calls += 1
        if counts:
            return x / (1 + 0.1 * self.calls)
        with torch.no_grad():
            self.mean.mul_(0.9).add_(x.mean((0, 2, 3, 4))[:, None, None, None], alpha=0.1)
        return x - self.mean


class Channels(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.transpose(1, 4)).transpose(1, 4)


NORMS = {
    "none": nn.Identity,
    "batch": lambda: nn.BatchNorm3d(WIDTH),
    "batch eval": lambda: nn.BatchNorm3d(WIDTH),
    "group": lambda: nn.GroupNorm(2, WIDTH),
    "instance": lambda: nn.InstanceNorm3d(WIDTH, affine=True, track_running_stats=True),
    "layer": lambda: Channels(WIDTH),
}
ACTIVATIONS = {
    "relu": F.relu,
    "relu_": torch.relu_,
    "silu": F.silu,
    "silu_": lambda x: F.silu(x, inplace=True),
    "gelu": F.gelu,
    "leaky": lambda x: F.leaky_relu(x, 0.2),
    "hardswish_": lambda x: F.hardswish(x, inplace=True),
}
DROPOUTS = {
    "none": nn.Identity,
    "plain": lambda: nn.Dropout(0.3),
    "channel": lambda: nn.Dropout3d(0.3),
    "byte": lambda: ByteMaskDropout(0.5),
}


class Block(nn.Module):
    """By plan; `in_place` False computes the same without changing a tensor."""

    def __init__(self, plan, in_place):
        super().__init__()
        self.plan, self.in_place = plan, in_place
        conv = nn.Conv3d(WIDTH, WIDTH, 3, padding=1)
        spectral = plan.state == "spectral"
        self.conv = nn.utils.parametrizations.spectral_norm(conv) if spectral else conv
        self.norm, self.drop = NORMS[plan.norm](), DROPOUTS[plan.dropout]()
        self.average, self.out = Average(), nn.Conv3d(WIDTH, WIDTH, 1)
        if plan.frozen:
            self.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        if self.plan.norm == "batch eval":
            self.norm.eval()
        return self

    def forward(self, x):
        plan, ours = self.plan, (lambda t: t) if self.in_place else torch.clone
        if plan.first == "leaky_":
            x = F.leaky_relu_(ours(x), 0.2)
        y = ACTIVATIONS[plan.activation](ours(self.norm(self.conv(x))))
        if plan.state in ("average", "count"):
            y = self.average(y, plan.state == "count")
        y = self.drop(self.out(masked(y, plan.mask)))
        if plan.residual == "add":
            y = y + x
        elif plan.residual == "add_":
            y = ours(x).add_(y)
        return (y, y.mean()) if plan.pair else y


def masked(x, kind):
    even = torch.arange(x[0].numel(), device=x.device).view(x.shape[1:]) % 3 > 0
    if kind == "times":
        return x * even
    if kind == "fill":
        return x.masked_fill(~even, 0.1)
    if kind == "attention":
        q = x.mean((3, 4)).transpose(1, 2)[:, None].tile(1, 1, 32, 1)
        causal = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril()
        out = F.scaled_dot_product_attention(q, q, q, attn_mask=causal)[:, 0]
        return x + out.mean(1)[..., None, None, None]
    return x


class Network(nn.Module):
    def __init__(self, plans, in_place=True):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv3d(1, WIDTH, 3, padding=1), nn.Tanh())
        made = []
        for plan in plans:
            made.append(made[-1] if plan.shared and made else Block(plan, in_place))
        self.blocks, self.head = nn.ModuleList(made), nn.Linear(WIDTH, 3)

    def forward(self, x):
        x = self.stem(x) + 0
        extra = 0.0
        for block in self.blocks:
            x = block(x)
            if isinstance(x, tuple):
                x, more = x
                extra = extra + more
        return self.head(x.mean((2, 3, 4))) + extra


CLIP = torch.randn(4, 1, 4, 12, 12, generator=torch.Generator().manual_seed(5))
LABEL = torch.tensor([0, 1, 2, 0])


def learnt(net, savers, parts=1, autocast=None):
    """What two batches teach a copy: gradients, buffers, counters, and the next random number."""
    net = copy.deepcopy(net).train()
    savers = parse_savers(savers) if savers else ()
    torch.manual_seed(1)
    found = {}
    for step in range(2):
        net.zero_grad()
        for clip, label in zip(CLIP.chunk(parts), LABEL.chunk(parts), strict=True):
            options = {"weigh": lambda value: value / parts}
            if autocast is not None:
                options["autocast"] = lambda: torch.autocast("cpu", autocast)
            learn(net, clip, label, F.cross_entropy, savers, **options)
        found |= {f"{step} {n}": p.grad for n, p in net.named_parameters() if p.grad is not None}
    found |= {name: b.clone() for name, b in net.named_buffers()}
    found["calls"] = torch.tensor([b.average.calls for b in net.blocks])
    found["next"] = torch.rand(1)
    return found


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def attempt(net, savers):
    """What is learnt, or None where it is refused."""
    try:
        return learnt(net, savers)
    except (UserError, RuntimeError):
        return None


def gradients(found):
    return torch.cat([g.flatten() for name, g in found.items() if name[0] in "01"])


def changes_in_place(plans):
    return any("_" in p.activation or "_" in p.residual or "_" in p.first for p in plans)


SETTINGS = settings(
    max_examples=NETWORKS,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NETS = st.lists(PLANS, min_size=1, max_size=3)


@SETTINGS
@given(plans=NETS)
def test_exact_savers_change_no_bit_or_refuse(plans):
    """Where autograd itself refuses, a saver may have kept a copy: then it is right all the same,
    by the same network without operators in place."""
    net = Network(plans)
    plain = attempt(net, "")
    expected = plain if plain is not None else learnt(Network(plans, in_place=False), "")
    for savers in EXACT:
        found = attempt(net, savers)
        if found is None:
            assert changes_in_place(plans), savers
        elif plain is not None:
            assert same(plain, found), savers
        else:
            torch.testing.assert_close(gradients(found), gradients(expected), rtol=1e-4, atol=1e-6)


@SETTINGS
@given(plans=NETS)
def test_the_others_are_within_their_bounds_or_refuse(plans):
    net = Network(plans)
    plain = attempt(net, "")
    if plain is None:
        net = Network(plans, in_place=False)
        plain = learnt(net, "")
    int8 = gradients(learnt(net, "int8"))
    assert (int8 - gradients(plain)).norm() <= INT8_BOUND * gradients(plain).norm()
    assert same(learnt(net, "bf16"), learnt(net, "", autocast=torch.bfloat16))
    halves, found = learnt(net, "", parts=2), learnt(net, "accumulate=2")
    for name, value in halves.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(NETWORKS < 500, reason="compiles each network; part of the long version")
@settings(SETTINGS, max_examples=max(1, NETWORKS // 25))
@given(plans=NETS)
def test_budget_is_right_or_refuses(plans):
    torch._dynamo.reset()
    net = Network([replace(plan, shared=False) for plan in plans])
    plain, found = attempt(net, ""), attempt(net, "budget=0.5")
    if plain is not None and found is not None:
        off = (gradients(found) - gradients(plain)).norm()
        assert off <= 1e-4 * gradients(plain).norm()
