"""Output and gradients of the kernels against float64, with bounds that follow from the type.

As in tests/properties/test_plans.py: off by no more than γ times the same expression of the
absolute values, γ = n·u / (1 − n·u), n being the most roundings that one term passes through.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdcf.layers.cuda import launch
from stdcf.layers.cuda.configs import Config, steps
from tests.properties.test_plans import NAMES, UNIT, Case, dense, tensors_of

UNITS = {**UNIT, torch.float16: 2.0**-11}
EXAMPLES = int(os.environ.get("STDCF_KERNEL_EXAMPLES", "4"))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# ResNet's layers, cut in size: kernel, stride, padding, channels in and out, groups, input.
RESNETS = {
    "stem": ((3, 7, 7), (1, 2, 2), (1, 3, 3), 3, 16, 1, (2, 8, 8)),
    "3×3×3": ((3, 3, 3), (1, 1, 1), (1, 1, 1), 32, 32, 1, (2, 7, 7)),
    "3×3×3 halved": ((3, 3, 3), (2, 2, 2), (1, 1, 1), 20, 40, 1, (4, 8, 8)),
    "1×3×3": ((1, 3, 3), (1, 1, 1), (0, 1, 1), 16, 16, 1, (1, 9, 7)),
    "3×1×1": ((3, 1, 1), (1, 1, 1), (1, 0, 0), 40, 16, 1, (4, 4, 4)),
    "32 channels a group": ((3, 3, 3), (1, 1, 1), (1, 1, 1), 64, 64, 2, (1, 4, 4)),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    groups = draw(st.integers(1, 2))
    kernel_size = (draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3)))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * 3))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 3))
    sizes = [
        max(d * (k - 1) + 1 - 2 * p, 1) + draw(st.integers(0, 2))
        for k, d, p in zip(kernel_size, dilation, padding, strict=True)
    ]
    return Case(
        in_channels=groups * draw(st.integers(1, 20)),
        out_channels=groups * draw(st.integers(1, 20)),
        groups=groups,
        kernel_size=kernel_size,
        stride=draw(st.tuples(*[st.integers(1, 2)] * 3)),
        padding=padding,
        dilation=dilation,
        bias=draw(st.booleans()),
        batch=draw(st.integers(1, 2)),
        input_size=tuple(sizes),
        num_spatial_atoms=draw(st.integers(1, 4)),
        num_temporal_atoms=draw(st.integers(1, 3)),
        layout=draw(st.sampled_from(["contiguous", "channels_last", "strided"])),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Tiles of every kind; steps of atoms are those that so many pairs give."""
    sizes = [draw(st.sampled_from([64, 128])), *(draw(st.sampled_from([16, 32])) for _ in "CO")]
    return Config(*sizes, draw(st.integers(1, 3)), draw(st.integers(1, 4)), 0, 4, 1)


def chosen(config: Config) -> object:
    """`configs.choose` with one configuration for all kernels; its m_step is a number of pairs."""

    def choose(name: str, card: int, precision: str, layer: object) -> Config:
        m, n = steps(layer.num_spatial_atoms, layer.num_temporal_atoms, config.m_step)
        return replace(config, m_step=m, n_step=n)

    return patch.object(launch, "choose", choose)


def gamma(case: Case, dtype: torch.dtype, autocast: bool) -> float:
    """Sums run in float32; in a type of 16 bits a term's map and the result are stored, and under

    autocast x and α.
    """
    exact = (case.summands() + 8) * UNITS[torch.float32]
    if dtype == torch.float32:
        return exact / (1 - exact)
    stored = (2 + 2 * autocast) * UNITS[dtype]
    return stored / (1 - stored) + exact


@contextmanager
def autocast_on_a_gpu(dtype: torch.dtype, enabled: bool) -> Iterator[None]:
    """torch.autocast("cuda", dtype), which does nothing where there is no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", enabled)
    torch.set_autocast_dtype("cuda", dtype if enabled else before[1])
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


def assert_bounded(case: Case, dtype: torch.dtype, autocast: bool = False) -> None:
    layer = case.layer(torch.float32 if autocast else dtype)
    layer.plan = "factored"
    tensors = tensors_of(layer, case.input(layer.coefficients.dtype))
    grad = torch.randn(case.batch, case.out_channels, *case.output_size()).to(dtype)
    expected = dense(tensors, grad, case.options)
    bounds = dense([t.abs() for t in tensors], grad.abs(), case.options)
    with autocast_on_a_gpu(dtype, autocast):
        y = layer(tensors[0])
    assert "fused_conv3d" in type(y.grad_fn).__name__
    assert y.dtype == dtype
    got = [y, *torch.autograd.grad(y, tensors, grad)]
    limit = gamma(case, dtype, autocast)
    assert limit < 0.1
    for name, a, b, bound in zip(NAMES, got, expected, bounds, strict=False):
        assert a.shape == b.shape, name
        off = ~((a.detach().double() - b).abs() <= limit * bound)
        assert not off.any(), f"{name} beyond its bound at {off.sum()} of {off.numel()}"


@settings(max_examples=EXAMPLES)
@given(case=cases(), config=configs())
def test_float32(case: Case, config: Config) -> None:
    with chosen(config):
        assert_bounded(case, torch.float32)


@settings(max_examples=-(-EXAMPLES // 2))
@given(
    case=cases(),
    config=configs(),
    dtype=st.sampled_from([torch.bfloat16, torch.float16]),
    autocast=st.booleans(),
)
def test_sixteen_bits(case: Case, config: Config, dtype: torch.dtype, autocast: bool) -> None:
    # At a stride x's gradient is by torch's own convolution, whose 16 bits are not sound here.
    case = replace(case, stride=(1, 1, 1))
    with chosen(config):
        assert_bounded(case, dtype, autocast)


@pytest.mark.parametrize("name", RESNETS)
def test_resnets_layers(name: str) -> None:
    """With the configurations that the kernels choose; the layouts and types in turn."""
    kernel_size, stride, padding, in_channels, out_channels, groups, size = RESNETS[name]
    number = list(RESNETS).index(name)
    case = Case(
        in_channels=in_channels,
        out_channels=out_channels,
        groups=groups,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=(1, 1, 1),
        bias=False,
        batch=1,
        input_size=size,
        num_spatial_atoms=3,
        num_temporal_atoms=2 if kernel_size[0] > 1 else 1,
        layout=["contiguous", "channels_last"][number % 2],
        seed=0,
    )
    assert_bounded(case, torch.bfloat16 if number in (1, 4) else torch.float32)


def test_the_largest_filter() -> None:
    """5×7×7, of one atom each: taps in a loop that is not unrolled."""
    case = Case(
        in_channels=2,
        out_channels=3,
        groups=1,
        kernel_size=(5, 7, 7),
        stride=(1, 1, 1),
        padding=(2, 3, 3),
        dilation=(1, 1, 1),
        bias=True,
        batch=1,
        input_size=(2, 6, 5),
        num_spatial_atoms=1,
        num_temporal_atoms=1,
        layout="channels_last",
        seed=0,
    )
    assert_bounded(case, torch.float32)


def everything(case: Case) -> list[Tensor]:
    layer = case.layer(torch.float32)
    layer.plan = "factored"
    tensors = tensors_of(layer, case.input(torch.float32))
    y = layer(tensors[0])
    return [y.detach(), *torch.autograd.grad(y, tensors, torch.ones_like(y))]


def test_the_same_bits_each_time() -> None:
    case = Case(
        in_channels=5,
        out_channels=6,
        groups=1,
        kernel_size=(1, 2, 2),
        stride=(1, 1, 1),
        padding=(1, 1, 1),
        dilation=(1, 1, 1),
        bias=True,
        batch=2,
        input_size=(3, 5, 5),
        num_spatial_atoms=2,
        num_temporal_atoms=2,
        layout="contiguous",
        seed=0,
    )
    for a, b in zip(everything(case), everything(case), strict=True):
        assert torch.equal(a, b)
