import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from baselines.layers import Rank1Conv3d
from stdcf.errors import UserError
from stdcf.memory import LifeTracker
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.blocks import blocks
from stdcf.models import create_model


class Counted(nn.Module):
    """Says how often it runs, in a list that is no attribute of a module."""

    runs: list[int] = []

    def forward(self, x):
        self.runs.append(1)
        return x


def with_norm(momentum=0.1):
    norm = nn.BatchNorm1d(6, momentum=momentum)
    block = nn.Sequential(nn.Linear(6, 6), norm, Counted(), nn.ReLU())
    return nn.Sequential(block, nn.Sequential(nn.Linear(6, 3), nn.Identity()))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_updated_once(momentum):
    """By the definition: running = (1 - m) * running + m * batch, once; None averages all."""
    torch.manual_seed(0)
    model, x = with_norm(momentum).train(), torch.randn(16, 6)
    norm, counted = model[0][1], model[0][2]
    seen = model[0][0](x).detach()
    counted.runs.clear()
    learn(model, x, torch.zeros(16, dtype=torch.long), F.cross_entropy, parse_savers("checkpoint"))
    assert len(counted.runs) == 3, "forward, looked at once more in the first step, and backward"
    assert norm.num_batches_tracked == 1
    m = momentum or 1.0
    torch.testing.assert_close(norm.running_mean, m * seen.mean(0))
    torch.testing.assert_close(norm.running_var, (1 - m) * torch.ones(6) + m * seen.var(0))


def test_plain_torch_checkpointing_would_update_them_twice():
    """What the saver is there for; if torch mends this, the saver's copies can go."""
    from torch.utils.checkpoint import checkpoint

    model = with_norm().train()
    checkpoint(model[0], torch.randn(16, 6), use_reentrant=False).sum().backward()
    assert model[0][1].num_batches_tracked == 2


def test_a_model_is_left_as_it_was():
    model = create_model("kth_cnn").train()
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    clip, label = torch.rand(2, 1, 4, 8, 8), torch.zeros(2, dtype=torch.long)
    learn(model, clip, label, F.cross_entropy, parse_savers("checkpoint"))
    assert {name: dict(m.__dict__) for name, m in model.named_modules()} == before

    def broken(output, target):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        learn(model, clip, label, broken, parse_savers("checkpoint"))
    assert {name: dict(m.__dict__) for name, m in model.named_modules()} == before


def kth(conv):
    return create_model("kth_cnn", conv=conv)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (lambda: kth(nn.Conv3d), ["blocks.0", "blocks.1", "blocks.2"]),
        # A layer of two convolutions is not a block.
        (lambda: kth(Rank1Conv3d), ["blocks.0", "blocks.1", "blocks.2"]),
        (
            torchvision.models.video.r3d_18,
            ["stem", *(f"layer{i}.{j}" for i in range(1, 5) for j in range(2))],
        ),
        (
            lambda: create_model("resnet3d_50", num_classes=5, in_channels=3),
            [f"layer{i}.{j}" for i, n in enumerate((3, 4, 6, 3), 1) for j in range(n)],
        ),
    ],
    ids=["kth_cnn", "rank1", "r3d_18", "resnet3d_50"],
)
def test_the_blocks_are_those_of_the_architecture(model, names):
    with torch.device("meta"):
        assert list(blocks(model())) == names


def test_transformers_have_their_blocks():
    with torch.device("meta"):
        swin = blocks(torchvision.models.video.swin3d_t())
    depths = [2, 2, 6, 2]
    found = [name for name, block in swin.items() if type(block).__name__.endswith("Block")]
    assert found == [f"features.{2 * i}.{j}" for i, n in enumerate(depths) for j in range(n)]


def test_a_model_without_blocks_is_named():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(1, 2, 1)

    with pytest.raises(UserError, match=r"no blocks in Flat.*nn\.Sequential"):
        blocks(Flat())


def test_blocks_are_run_again_in_backward_and_named():
    model = create_model("kth_cnn").train()
    clip, label = torch.rand(2, 1, 8, 32, 32), torch.zeros(2, dtype=torch.long)
    with LifeTracker(model, None, [clip, label]) as plain:
        learn(model, clip, label, F.cross_entropy)
    savers = parse_savers("checkpoint")
    # In the first step each block runs once more, so that it can be compared.
    learn(model, clip, label, F.cross_entropy, savers)
    model.zero_grad()
    with LifeTracker(model, None, [clip, label]) as tracker:
        learn(model, clip, label, F.cross_entropy, savers)
    # All convolutions run forward once more; backward costs two forwards but for the first layer's
    # input.
    assert 1.3 < tracker.macs / plain.macs < 1.4
    assert tracker.peak_moment.phase == "backward"
    assert tracker.peak_moment.module.startswith("blocks.0")
