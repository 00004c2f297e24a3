"""A network of two blocks around a layer, and what training under checkpoint leaves of it."""

import copy
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.memory.savers import learn, parse_savers

CLIP = (4, 3, 4, 6, 6)


class Model(nn.Module):
    """Two blocks, each a layer under test between convolutions."""

    def __init__(self, layer, width=4):
        super().__init__()
        self.stem = nn.Conv3d(3, width, 1)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Conv3d(width, width, 1), layer(), nn.Conv3d(width, width, 1))
                for _ in range(2)
            )
        )
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(F.relu(self.blocks(self.stem(x))).mean((2, 3, 4)))


def train(model, savers, steps=3):
    """What several steps leave of a copy: parameters, gradients, state and generators."""
    model = copy.deepcopy(model)
    savers = parse_savers(savers) if savers else ()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    for step in range(steps):
        clip = torch.randn(CLIP, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        learn(model, clip, torch.tensor([0, 1, 0, 1]), F.cross_entropy, savers)
        optimizer.step()
    found = dict(model.state_dict())
    found |= {f"{name}.grad": p.grad for name, p in model.named_parameters()}
    found["next"] = torch.tensor([torch.rand(1), random.random(), np.random.rand()])
    attributes = [
        {k: v for k, v in vars(m).items() if isinstance(v, int | float | torch.Tensor)}
        for m in model.modules()
    ]
    return found, attributes


def check_same(layer):
    torch.manual_seed(0)
    model = Model(layer)
    (plain, plain_attributes), (found, attributes) = train(model, ""), train(model, "checkpoint")
    for name, value in plain.items():
        assert (value is None and found[name] is None) or torch.equal(value, found[name]), name
    assert str(plain_attributes) == str(attributes)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 1, 1, 1))
