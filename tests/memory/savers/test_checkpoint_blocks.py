"""Under checkpoint: what blocks take and give, whose they are, and how often they run again."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.blocks import blocks
from tests.memory.savers.small_blocks import CLIP, Layer, Model, train


class KeywordBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.out = nn.Conv3d(4, 4, 1), nn.Conv3d(4, 4, 1)

    def forward(self, x, *, scales, shift=None):
        y = self.mix(x) * scales["a"] + scales["b"][0] + shift
        return {"y": self.out(y), "scales": (y.mean(), 2)}


class Keywords(Model):
    """Blocks take and give dictionaries, and a list's tensor may change after them."""

    def __init__(self, after):
        super().__init__(nn.Identity)
        self.blocks = nn.ModuleList([KeywordBlock(), KeywordBlock()])
        self.after = after

    def forward(self, x):
        x = self.stem(x)
        gate = x.mean((2, 3, 4), keepdim=True).exp()
        for block in self.blocks:
            found = block(x, scales={"a": gate, "b": [gate.sin()]}, shift=gate * 2)
            x = found["y"] * found["scales"][0]
        self.after(gate)
        return self.head(x.mean((2, 3, 4)))


def test_keywords_and_several_outputs_are_the_same_bits():
    torch.manual_seed(0)
    model = Keywords(lambda gate: None)
    (plain, _), (found, _) = train(model, ""), train(model, "checkpoint")
    assert all(torch.equal(value, found[name]) for name, value in plain.items())


def test_a_keyword_that_changes_after_the_block_is_refused():
    for savers in ("", "checkpoint"):
        with pytest.raises(RuntimeError, match=r"modified by an inplace|changed in place"):
            train(Keywords(lambda gate: gate.mul_(2)), savers)


class TwoNames(nn.Module):
    def __init__(self, nested):
        super().__init__()
        block = nn.Sequential(nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3), nn.Dropout(0.5))
        inner = nn.Sequential(nn.Sequential(nn.Conv3d(3, 3, 1), block), nn.ReLU())
        self.first, self.second = nn.Sequential(block), nn.Sequential(block, block)
        self.third = nn.ModuleList([inner if nested else block])
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        for row in (self.first, self.second, *self.third):
            x = row(x)
        return self.head(x.mean((2, 3, 4)))


@pytest.mark.parametrize("nested", [False, True])
def test_a_block_under_two_names_is_one(nested):
    torch.manual_seed(0)
    model = TwoNames(nested)
    assert list(blocks(model))[:3] == ["first.0", "second.0", "second.1"]
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    (plain, _), (found, _) = train(model, ""), train(model, "checkpoint")
    assert all(torch.equal(value, found[name]) for name, value in plain.items())
    learn(
        model, torch.ones(CLIP), torch.zeros(4).long(), F.cross_entropy, parse_savers("checkpoint")
    )
    assert {name: dict(module.__dict__) for name, module in model.named_modules()} == before


class CallsParts(Model):
    """Runs what is inside its blocks; the last `whole` of them as blocks."""

    def __init__(self, whole):
        super().__init__(nn.Identity)
        self.whole = whole

    def forward(self, x):
        x = self.stem(x)
        for index, block in enumerate(self.blocks):
            if index >= len(self.blocks) - self.whole:
                x = block(x)
            else:
                for part in block:
                    x = part(x)
        return self.head(x.mean((2, 3, 4)))


def test_a_block_whose_parts_are_called_directly_is_said():
    with pytest.raises(UserError, match=r"saves nothing in CallsParts.*blocks\.0, blocks\.1"):
        train(CallsParts(0), "checkpoint")
    with pytest.warns(UserWarning, match=r"saves nothing in blocks\.0: CallsParts calls what is"):
        train(CallsParts(1), "checkpoint")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(CallsParts(2), "checkpoint")


def test_a_scripted_model_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.script(Model(nn.Identity))
    with pytest.raises(UserError, match="scripted RecursiveScriptModule again"):
        blocks(model)


class Penalised(Model):
    """Backward runs through the blocks twice: a gradient's own gradient."""

    def forward(self, x):
        x = x.requires_grad_()
        y = super().forward(x)
        (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return y + grad.mean((1, 2, 3, 4))[:, None]


class Inside(Layer):
    """The block itself asks for a gradient."""

    def forward(self, x):
        y = self.weight * x.sin()
        (grad,) = torch.autograd.grad(y.square().sum(), self.weight, create_graph=True)
        return y * grad


@pytest.mark.parametrize("model", [Penalised(nn.Tanh), Model(Inside)], ids=["penalty", "inside"])
def test_a_block_may_be_run_again_more_than_once(model):
    (plain, _), (found, _) = train(model, "", 1), train(model, "checkpoint", 1)
    assert all(torch.equal(value, found[name]) for name, value in plain.items())


def test_a_list_of_losses_that_blocks_share_is_filled_once():
    class Auxiliary(Layer):
        def forward(self, x):
            self.losses.append((self.weight * x).square().mean())
            return self.weight * x

    class Sums(Model):
        def forward(self, x):
            y = super().forward(x) + sum(self.losses)
            self.losses.clear()
            return y

    torch.manual_seed(0)
    model = Sums(Auxiliary)
    model.losses = []
    for block in model.blocks:
        block[1].losses = model.losses
    (plain, _), (found, _) = train(model, ""), train(model, "checkpoint")
    assert all(torch.equal(value, found[name]) for name, value in plain.items())
