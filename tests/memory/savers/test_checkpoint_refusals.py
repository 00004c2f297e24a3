"""Blocks that checkpoint cannot run again: refused by name."""

import random

import pytest
import torch
from torch import nn

from stdcf.errors import UserError
from tests.memory.savers.small_blocks import Layer, Model, train


class DrawsByOther(Layer):
    def __init__(self):
        super().__init__()
        self.draw = random.Random(0)

    def forward(self, x):
        return self.weight * x * self.draw.random()


class CountsElsewhere(Layer):
    """In no module, and by a number, which no saved tensor shows."""

    calls = [0]

    def forward(self, x):
        self.calls[0] += 1
        return self.weight * x * 0.5 ** self.calls[0]


class AtTheEnd(CountsElsewhere):
    """After the last tensor that is saved, where a second run has ended already."""

    def forward(self, x):
        return self.weight * x + (super().forward(x) * 0).detach() + self.calls[0]


class OfOther(Layer):
    """A buffer that is in no module of the block."""

    other = [torch.zeros(())]

    def forward(self, x):
        y = self.weight * x
        return y - self.other[0].add_(y.detach().mean()).clone()


class SkipsByOther(DrawsByOther):
    """Another number of tensors is saved: now and then there is no product."""

    def forward(self, x):
        for _ in range(self.draw.randrange(50)):
            x = x * self.weight
        return x


class ChangesWhatItSaved(Layer):
    """autograd refuses it; torch's checkpoint alone says nothing."""

    def forward(self, x):
        y = x * self.weight
        z = y * y
        y.add_(1)
        return z + y


@pytest.mark.parametrize(
    "layer",
    [DrawsByOther, CountsElsewhere, AtTheEnd, OfOther, SkipsByOther, ChangesWhatItSaved],
)
def test_what_cannot_be_run_again_is_refused_by_name(layer):
    with pytest.raises(UserError, match=r"^checkpoint.* block|^checkpoint would update") as caught:
        train(Model(layer), "checkpoint", 1)
    assert "\n" not in str(caught.value)
    assert "checkpoint out" in str(caught.value) or "clone it first" in str(caught.value)


def test_a_block_that_changes_its_input_is_refused_by_name():
    model = Model(nn.Identity)
    model.blocks[1].insert(0, nn.LeakyReLU(inplace=True))
    train(model, "")
    with pytest.raises(UserError, match=r"block blocks\.1 again: it changes its input in place"):
        train(model, "checkpoint")


class InPlaceAfter(Model):
    """The input of a block changes after it."""

    def forward(self, x):
        x = self.stem(x)
        x += self.blocks(x)
        return self.head(x.mean((2, 3, 4)))


@pytest.mark.parametrize("savers", ["checkpoint", "checkpoint,int8", "checkpoint,recompute"])
def test_an_input_that_changes_after_the_block_is_refused(savers):
    for words in ("", savers):
        with pytest.raises(RuntimeError, match=r"modified by an inplace|changed in place"):
            train(InPlaceAfter(nn.Identity), words)
