"""budget on CPU: the plain step's gradients, or one line that names checkpoint."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.randomness import drawn_again_right, draws
from stdcf.models.dropout import ByteMaskDropout

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()


def net(layer):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(2, 4, 1),
        nn.SiLU(),
        layer,
        nn.Conv3d(4, 4, 1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(128, 2),
    )


def gradients(model, savers):
    model = copy.deepcopy(model)
    torch.manual_seed(1)
    clip, label = torch.randn(3, 2, 2, 4, 4), torch.tensor([0, 1, 0])
    learn(model, clip, label, F.cross_entropy, parse_savers(savers) if savers else ())
    return [*(p.grad for p in model.parameters()), *(b for b in model.buffers())]


def attempt(model, share):
    """Gradients, or the error."""
    try:
        return gradients(model, f"budget={share}"), None
    except RuntimeError as error:
        return None, error
    except UserError as error:
        return None, error


def close(expected, found):
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class Noise(nn.Module):
    def forward(self, x):
        return x.tanh() * torch.rand_like(x)


class Attention(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.dropout = dropout

    def forward(self, x):
        q = x.flatten(2).transpose(1, 2)[:, None]
        out = F.scaled_dot_product_attention(q, q, q, dropout_p=self.dropout)
        return out[:, 0].transpose(1, 2).reshape(x.shape)


DRAWS = {
    "Dropout": nn.Dropout(0.5),
    "Dropout3d": nn.Dropout3d(0.5),
    "AlphaDropout": nn.AlphaDropout(0.5),
    "ByteMaskDropout": ByteMaskDropout(0.5),
    "RReLU": nn.RReLU(),
    "rand_like": Noise(),
    "attention": Attention(0.1),
}


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("name", DRAWS)
def test_what_draws_is_refused_or_right(name, share):
    model = net(DRAWS[name])
    found, error = attempt(model, share)
    if error is None:
        # Right in this torch, or drawn where the compiler breaks the graph (ByteMaskDropout).
        close(gradients(model, ""), found)
    else:
        assert isinstance(error, UserError)
        assert "draws random numbers" in str(error)
        assert "checkpoint saves as much" in str(error)
        assert "\n" not in str(error)
        assert not drawn_again_right("aot_eager_decomp_partition", "cpu", float(share))
    assert "forward" not in model.__dict__


class Average(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        with torch.no_grad():
            self.mean.mul_(0.9).add_(x.mean())
        return (x - self.mean).tanh() * self.mean.exp()


DRAWS_NONE = {
    "nothing": nn.Identity(),
    "BatchNorm": nn.BatchNorm3d(4),
    "Dropout of 0": nn.Dropout(0.0),
    "Dropout that is off": nn.Dropout(0.5).eval(),
    "attention": Attention(0.0),
}
CHANGES_BUFFERS = {
    "a running mean": Average(),
    "spectral norm": nn.utils.parametrizations.spectral_norm(nn.Conv3d(4, 4, 1)),
}


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("name", DRAWS_NONE)
def test_what_draws_nothing_is_kept_and_right(name, share):
    """Up to the order of operations: a few roundings of 2^-24."""
    model = net(DRAWS_NONE[name])
    close(gradients(model, ""), gradients(model, f"budget={share}"))


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("name", CHANGES_BUFFERS)
def test_what_backward_needs_of_a_changed_buffer_is_right_or_refused_by_autograd(name, share):
    model = net(CHANGES_BUFFERS[name])
    found, error = attempt(model, share)
    if error is None:
        close(gradients(model, ""), found)
    else:
        assert "modified by an inplace operation" in str(error)


def test_operators_of_others_may_draw():
    @torch.library.custom_op("stdcf_test::noisy", mutates_args=())
    def noisy(x: torch.Tensor) -> torch.Tensor:
        return x * torch.rand_like(x)

    noisy.register_fake(lambda x: torch.empty_like(x))
    graph = torch.fx.symbolic_trace(lambda x: torch.ops.stdcf_test.noisy(x) + 1)
    found = draws(graph, [torch.ones(3)])
    assert found == ["stdcf_test.noisy.default"]


def test_the_probe_tells_right_from_wrong():
    """Without a compiler the masks are right; where they are drawn twice, they are not."""
    assert drawn_again_right("eager", "cpu", 0.5)


class Branches(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,))


def test_a_branch_into_which_nobody_can_look_is_refused():
    if drawn_again_right("aot_eager_decomp_partition", "cpu", 0.2):
        return
    found, error = attempt(net(Branches()), 0.2)
    assert found is None
    assert "or may (in a branch or loop of torch's)" in str(error)
