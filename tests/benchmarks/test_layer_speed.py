"""The cases of the suite layer_speed for pytest-benchmark.

pytest tests/benchmarks --benchmark-only --benchmark-group-by=param:shape
"""

import pytest
import torch

from suites.experiments.layer_speed.cases import layers
from suites.experiments.layer_speed.shapes import SHAPES

NAMES = [name for name, _ in layers(SHAPES["64to64_8x56x56"])]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_backward(benchmark, shape: str, name: str) -> None:
    case = SHAPES[shape]
    layer = dict(layers(case))[name]()
    layout = torch.channels_last_3d
    x = torch.randn(1, case.in_channels, *case.size).to(memory_format=layout).requires_grad_()
    grad = torch.randn(1, case.out_channels, *case.size).to(memory_format=layout)

    def step() -> None:
        layer(x).backward(grad)
        x.grad = None

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)
