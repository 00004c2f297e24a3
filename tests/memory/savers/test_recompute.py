"""What recompute may give back, and what it refuses, beside autograd on the same network."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory.savers import learn, parse_savers


class Net(nn.Module):
    """A stem, a function of its map, a mean and a classifier."""

    def __init__(self, between):
        super().__init__()
        self.stem = nn.Conv3d(1, 4, 1)
        self.norm, self.rows = nn.BatchNorm3d(4), nn.LayerNorm(4)
        self.conv, self.mix = nn.Conv3d(4, 4, 1), nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)
        self.between = between

    def forward(self, x):
        return self.head(self.between(self, self.stem(x)).mean((2, 3, 4)))


def gradients(between, savers, shape=(4, 1, 2, 4, 4)):
    torch.manual_seed(0)
    net = Net(between)
    clip, label = torch.randn(shape), torch.arange(shape[0]) % 2
    learn(net, clip, label, F.cross_entropy, parse_savers(savers) if savers else ())
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def residual_in_place(net, x):
    y = net.conv(F.relu(net.norm(x)))
    x += y
    return x


def activation_and_residual_in_place(net, x):
    y = net.conv(F.silu(x))
    return x.add_(y)


def weight_changed(net, x):
    y = net.conv(F.relu(net.norm(x)))
    with torch.no_grad():
        net.norm.weight.mul_(2)
    return y


@pytest.mark.parametrize(
    "between", [residual_in_place, activation_and_residual_in_place, weight_changed]
)
@pytest.mark.parametrize("savers", ["recompute", "recompute,int8"])
def test_what_autograd_refuses_is_refused(between, savers):
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients(between, "")
    with pytest.raises(UserError, match="changed in place afterwards") as caught:
        gradients(between, savers)
    assert isinstance(caught.value, RuntimeError)


def bias_changed(net, x):
    """autograd keeps no bias, and needs none."""
    y = net.conv(F.relu(net.norm(x)))
    with torch.no_grad():
        net.norm.bias.add_(2)
    return y


def test_a_bias_that_it_computes_again_with_must_not_change_either():
    gradients(bias_changed, "")
    with pytest.raises(UserError, match="changed in place afterwards"):
        gradients(bias_changed, "recompute")


def silu_in_place(net, x):
    return net.conv(F.silu(x, inplace=True))


def hardswish_in_place(net, x):
    return net.conv(F.hardswish(x, inplace=True) + 1)


def normalised_silu_in_place(net, x):
    return net.conv(F.silu(net.norm(x), inplace=True))


def square_transposed(net, x):
    """A transposed view has the shape of what it is a view of."""
    rows = net.rows(x.flatten(2).transpose(1, 2)[:, :4].contiguous())
    return (rows.transpose(1, 2) @ rows)[..., None, None] + net.mix(rows)[..., None, None]


def sliced(net, x):
    y = F.relu(net.norm(x))
    return net.conv(y)[:, :, :1] * y[:, :, 1:]


def evaluated(net, x):
    net.norm.eval()
    return net.conv(F.relu(net.norm(x)))


def changed_after(net, x):
    """In place on the normalised map: what comes after reads something else."""
    return net.conv(net.norm(x).mul_(2).relu_())


@pytest.mark.parametrize(
    "between",
    [
        silu_in_place,
        hardswish_in_place,
        normalised_silu_in_place,
        square_transposed,
        sliced,
        evaluated,
        changed_after,
    ],
)
def test_what_is_computed_again_is_what_it_was(between):
    plain, found = gradients(between, ""), gradients(between, "recompute")
    assert all(torch.equal(found[name], gradient) for name, gradient in plain.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_it_computes_again_in_the_type_of_forward(dtype):
    torch.manual_seed(0)
    net = Net(lambda net, x: net.conv(F.relu(F.group_norm(net.conv(x), 2))))
    found = []
    for savers in ((), parse_savers("recompute")):
        own = copy.deepcopy(net)
        learn(
            own,
            torch.ones(2, 1, 2, 4, 4),
            torch.tensor([0, 1]),
            F.cross_entropy,
            savers,
            autocast=lambda: torch.autocast("cpu", dtype),
        )
        found.append([p.grad for p in own.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
