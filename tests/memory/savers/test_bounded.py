"""int8 never makes a finite gradient anything but near: values that are not finite, operators that
an error in what they save would blow up."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf import STDCFConv3d
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.int8 import MIN_VALUES, _Quantised, quantise
from stdcf.memory.savers.packing import Packing


class Function(nn.Module):
    """A linear layer, a function of what it gives, [B, N, 64], and a sum with fixed weights."""

    def __init__(self, function):
        super().__init__()
        self.linear = nn.Linear(64, 64)
        self.function = function

    def forward(self, x):
        y = self.function(self.linear(x))
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        return (y * weights).sum((1, 2))


def error(function, shape=(4, 128, 64)):
    """Relative distance of the gradients under int8 from the plain ones."""
    gradients = []
    for savers in ((), parse_savers("int8")):
        torch.manual_seed(0)
        net, x = Function(function), torch.randn(shape)
        learn(net, x, torch.ones(shape[0]), lambda output, target: (output * target).sum(), savers)
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    plain, found = gradients
    assert plain.isfinite().all()
    return float((found - plain).norm() / plain.norm())


def attend(bias):
    def function(x):
        q = x[:, None]
        return F.scaled_dot_product_attention(q, q, q.sigmoid(), attn_mask=bias(x.shape[1]))[:, 0]

    return function


def boolean(n):
    return torch.ones(n, n, dtype=torch.bool).tril()


def minus_infinity(n):
    return torch.zeros(n, n).masked_fill(~boolean(n), -torch.inf)


def large(n):
    return torch.zeros(n, n).masked_fill(~boolean(n), -1e9)


def by_hand(x):
    """Attention as it was written before there was a function for it."""
    scores = (x @ x.transpose(1, 2) / 8).masked_fill(~boolean(x.shape[1]), -torch.inf)
    return scores.softmax(-1) @ x.sigmoid()


class Logarithm(torch.autograd.Function):
    """A user's own, that divides by what it saves."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.log()

    @staticmethod
    def backward(ctx, grad):
        return grad / ctx.saved_tensors[0]


def positive(x):
    return F.softplus(4 * x) + 1e-3


def rows_of_little_variance(x):
    """Among 2^14 rows that do vary; layer norm saves how much each does."""
    share = torch.ones(x.shape[1]).index_fill(0, torch.arange(0, x.shape[1], 100), 1e-3)
    return F.layer_norm(x * share[:, None], (64,))


def linear_and(function):
    """Of one tensor: a linear layer, which bears values that are off, and then another operator."""

    def both(x):
        # exp keeps its result as it is.
        y = (3 * x).exp()
        return F.linear(y, torch.eye(64).roll(1, 0)) + function(y)

    return both


def peaked(x):
    """Attention by hand of which each row sees little more than one other."""
    return (4 * x @ x.transpose(1, 2)).softmax(-1) @ x.sigmoid()


EXACT = {
    "linear and division": linear_and(lambda y: 1 / y),
    "linear and root": linear_and(torch.rsqrt),
    "linear and power": linear_and(lambda y: y**-1.5),
    "peaked softmax": peaked,
    "boolean mask": attend(boolean),
    "mask of -inf": attend(minus_infinity),
    "mask of -1e9": attend(large),
    "division": lambda x: 1 / positive(x),
    "logarithm": lambda x: positive(x).log(),
    "root": lambda x: positive(x).sqrt(),
    "power": lambda x: positive(x) ** -0.5,
    "norm": lambda x: x / x.norm(dim=-1, keepdim=True),
    "normalised": lambda x: F.normalize(x, dim=1),
    "arcsine": lambda x: (0.999 * x.tanh()).asin(),
    "log_softmax": lambda x: (100 * x).log_softmax(-1),
    "own function": lambda x: Logarithm.apply(positive(x)),
    "rows of little variance": rows_of_little_variance,
}


@pytest.mark.parametrize("name", EXACT)
def test_gradients_stay_near_whatever_the_operator(name):
    shape = (4, 2**12, 64) if name == "rows of little variance" else (4, 128, 64)
    assert error(EXACT[name], shape) < 0.02


def test_attention_by_hand_is_finite_and_near():
    assert 0 < error(by_hand, (4, 256, 64)) < 0.02


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_value_that_is_not_finite_is_kept_as_it_is(value, dtype):
    """And a tensor like it without that value is packed."""
    x = torch.randn(MIN_VALUES, dtype=dtype)
    packing = Packing(())
    packing.packers.append(quantise)
    assert isinstance(packing.pack(x), _Quantised)
    x[1234] = value
    again = packing.unpack(packing.pack(x))
    torch.testing.assert_close(again, x, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (torch.float32, -3e38, 3e38),
        (torch.float32, 0, 3e38),
        (torch.float32, 0, 1e-38),
        (torch.float32, 1e-42, 1e-41),
        (torch.float64, -1e300, 1e300),
        (torch.float64, 1e6, 1e6 + 1e-3),
        (torch.float64, 0, 1e-45),
        (torch.float16, -65504, 65504),
        (torch.bfloat16, -3e38, 3e38),
    ],
)
def test_the_bound_holds_at_the_ends_of_the_range(dtype, low, high):
    """|x - x'| <= range/255, or the type's rounding or its smallest normal number."""
    torch.manual_seed(0)
    share = torch.rand(MIN_VALUES, dtype=torch.float64)
    x = ((1 - share) * low + share * high).to(dtype)
    packing = Packing(())
    packing.packers.append(quantise)
    again = packing.unpack(packing.pack(x))
    assert again.isfinite().all()
    wide = x.double()
    info = torch.finfo(dtype)
    smallest = torch.finfo(torch.float32 if dtype != torch.float64 else dtype).tiny
    bound = (wide.max() / 255 - wide.min() / 255) * 1.001
    bound = torch.maximum(bound + 2 * info.eps * wide.abs().max(), torch.tensor(smallest))
    assert ((wide - again.double()).abs() <= bound).all()


class Recorded(Packing):
    """Remembers what it gave."""

    def __init__(self, keep):
        super().__init__(keep)
        self.made = []

    def pack(self, tensor):
        self.made.append(super().pack(tensor))
        return self.made[-1]


def test_of_convolutions_the_bound_is_worth_having():
    """What is known to be linear is packed: dense layers, STDCF's in every plan, norms, ReLU."""
    clip = torch.randn(2, 16, 4, 16, 16)
    for plan in ("composed", "spatial_first", "factored"):
        net = nn.Sequential(
            nn.Conv3d(16, 16, 1),
            STDCFConv3d(16, 16, 3, padding=1, plan=plan),
            nn.BatchNorm3d(16),
            nn.ReLU(),
            nn.MaxPool3d(2),
            nn.Conv3d(16, 2, 1),
            nn.Flatten(),
        )
        packing = Recorded([*net.parameters(), clip])
        (int8,) = parse_savers("int8")
        with int8.forward(net, clip, packing), packing.hooks():
            net(clip)
        found = [kept for kept in packing.made if isinstance(kept, _Quantised)]
        # The inputs of STDCF, of the norm, of the pool (ReLU's output as well).
        assert len({id(kept) for kept in found}) == 3, plan
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
