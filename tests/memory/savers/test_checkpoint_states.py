"""Blocks that keep a state or draw numbers, under checkpoint: the same bits as plain training over
several steps."""

import random
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from tests.memory.savers.small_blocks import Layer, check_same


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
