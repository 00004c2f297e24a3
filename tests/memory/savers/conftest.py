"""Small networks that the tests of savers train, and what one batch teaches them."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stdcf.memory import LifeTracker
from stdcf.memory.savers import Saver, learn, parse_savers
from stdcf.models import create_model

CLIP = (4, 1, 8, 32, 32)


class Plain(nn.Module):
    """Convolution, ReLU and a linear layer: no normalisation, no dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv3d(a, b, 3, padding=1), nn.ReLU())
                for a, b in ((1, 8), (8, 8), (8, 8))
            )
        )
        self.head = nn.Linear(8, 3)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        return self.head(self.blocks(clip_BCTHW).mean((2, 3, 4)))


class Residual(nn.Module):
    """Functional and in-place activations, a shortcut, layer and group normalisation, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1, bias=False), nn.BatchNorm3d(8), nn.ReLU(inplace=True)
        )
        self.layers = nn.ModuleList([_Block(8), _Block(8)])
        self.norm = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 3))

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        x = self.stem(clip_BCTHW)
        for layer in self.layers:
            x = layer(x)
        return self.mlp(self.norm(x.flatten(2).transpose(1, 2))).mean(1)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.group_norm = nn.GroupNorm(2, width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.conv1(x)))
        return F.silu(self.group_norm(self.conv2(y)) + x)


def kth() -> nn.Module:
    return create_model("kth_cnn")


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "kth_cnn": kth,
    "residual": Residual,
    "plain": Plain,
}


class Learnt:
    """Gradients, buffers and peak of one learnt batch."""

    def __init__(
        self, model: nn.Module, savers: str | list[Saver], clip_BCTHW: Tensor, label: Tensor
    ) -> None:
        model = copy.deepcopy(model)
        torch.manual_seed(0)
        with LifeTracker(model, None, [clip_BCTHW, label]) as tracker:
            learn(model, clip_BCTHW, label, F.cross_entropy, parse_savers(savers))
        self.gradients = {name: p.grad for name, p in model.named_parameters()}
        self.buffers = dict(model.named_buffers())
        self.tracker = tracker
        self.next_random = torch.rand(1)

    def error(self, other: "Learnt") -> float:
        """Relative distance of all gradients together."""
        mine, theirs = (
            torch.cat([g.flatten() for g in learnt.gradients.values()]) for learnt in (self, other)
        )
        return float((mine - theirs).norm() / theirs.norm())

    def same(self, other: "Learnt") -> bool:
        """Whether no bit differs, in gradients, buffers and the random numbers that come next."""
        return (
            all(torch.equal(g, other.gradients[name]) for name, g in self.gradients.items())
            and all(torch.equal(b, other.buffers[name]) for name, b in self.buffers.items())
            and torch.equal(self.next_random, other.next_random)
        )


def _batch(shape: tuple[int, ...] = CLIP, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    clip = torch.rand(shape, generator=generator)
    return clip, torch.randint(classes, (shape[0],), generator=generator)


def _made(name: str) -> nn.Module:
    torch.manual_seed(3)
    return NETWORKS[name]().train()


@pytest.fixture
def made() -> Callable[[str], nn.Module]:
    """A network by name, always with the same weights, in training."""
    return _made


@pytest.fixture
def batch() -> Callable[..., tuple[Tensor, Tensor]]:
    """Clips [B, C, T, H, W] and labels, always the same."""
    return _batch


@pytest.fixture
def learnt() -> type[Learnt]:
    """Learns one batch with a copy of a model."""
    return Learnt
