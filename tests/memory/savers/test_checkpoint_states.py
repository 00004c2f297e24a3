"""Blocks that keep a state, draw numbers or change their input, under checkpoint: the same bits as
plain training over several steps, or a refusal that names the block."""

import copy
import random
import warnings
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.blocks import blocks

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


class Average(Layer):
    """A running mean of its own, that it subtracts."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * x.mean())
        return self.weight * (x - self.mean)


class AverageByData(Average):
    """Written to behind the version counter's back."""

    def forward(self, x):
        self.mean.data.mul_(0.9).add_(0.1 * x.detach().mean())
        return self.weight * (x - self.mean.clone())


class AverageReplaced(Average):
    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean()
        return self.weight * (x - self.mean)


class AverageAttribute(Layer):
    """No buffer at all."""

    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, x):
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean())
        return self.weight * (x - self.mean.clone())


class MadeAtFirst(Layer):
    """Its state is made by the first batch."""

    def forward(self, x):
        if not hasattr(self, "scale"):
            self.scale = float(x.detach().std())
            self.register_buffer("shift", x.detach().mean())
        self.shift = 0.5 * self.shift + x.detach().mean()
        return self.weight * x / self.scale + self.shift


class Counts(Layer):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.weight * x / self.calls


class DropsByPython(Layer):
    def forward(self, x):
        return self.weight * x * 2 if random.random() < 0.5 else x


class DropsByNumpy(Layer):
    def forward(self, x):
        return self.weight * x * float(np.random.rand())


class DropsByItsGenerator(Layer):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        return self.weight * x * torch.rand(x.shape, generator=self.generator)

    def __deepcopy__(self, memo):
        new = type(self)()
        new.weight = nn.Parameter(self.weight.detach().clone())
        return new


class Remembers(Layer):
    """In a list."""

    def __init__(self):
        super().__init__()
        self.seen = [1.0]

    def forward(self, x):
        self.seen.append(float(x.detach().mean()) + 1)
        return self.weight * x * sum(self.seen) / len(self.seen) ** 2


class Alias(Layer):
    """A buffer that a list of its module's holds and changes as well."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.others = [self.count]

    def forward(self, x):
        self.others[0].add_(1)
        return self.weight * x


class Nested(Layer):
    """A state within containers, read by two modules, and an average in a dict."""

    def __init__(self):
        super().__init__()
        self.state = {"counts": {"calls": deque(maxlen=3)}, "mean": torch.zeros(())}
        self.reader = nn.Identity()
        self.reader.state = self.state

    def forward(self, x):
        self.state["counts"]["calls"].append(1)
        self.state["mean"].mul_(0.9).add_(0.1 * x.detach().mean())
        state = self.reader.state
        return self.weight * x / len(state["counts"]["calls"]) + state["mean"].clone()


class Renormalises(nn.BatchNorm3d):
    """Batch renormalisation: running statistics count in training, too."""

    def forward(self, x):
        running = self.running_var.clone().sqrt()
        return super().forward(x) * (running / (1 + running))[:, None, None, None]


LAYERS = {
    "spectral_norm, by hooks": lambda: nn.utils.spectral_norm(nn.Conv3d(4, 4, 1)),
    "spectral_norm, parametrised": lambda: nn.utils.parametrizations.spectral_norm(
        nn.Conv3d(4, 4, 1)
    ),
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv3d(4, 4, 1)),
    "BatchNorm": lambda: nn.BatchNorm3d(4),
    "BatchNorm without momentum": lambda: nn.BatchNorm3d(4, momentum=None),
    "InstanceNorm with statistics": lambda: nn.InstanceNorm3d(4, track_running_stats=True),
    "batch renormalisation": lambda: Renormalises(4),
    "dropout": lambda: nn.Dropout3d(0.3),
    "fake quantisation": lambda: torch.ao.quantization.FakeQuantize(),
    "average": Average,
    "average by data": AverageByData,
    "average replaced": AverageReplaced,
    "average attribute": AverageAttribute,
    "made at first": MadeAtFirst,
    "counts": Counts,
    "remembers": Remembers,
    "alias": Alias,
    "nested": Nested,
    "Python's generator": DropsByPython,
    "NumPy's generator": DropsByNumpy,
    "its own generator": DropsByItsGenerator,
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_state_is_updated_once_and_no_bit_differs(name):
    check_same(LAYERS[name])


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
