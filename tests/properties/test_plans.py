"""Every plan in every type against the dense convolution, with bounds that follow from the type.

The layer is linear in each of x, α, ψ and φ. So if each of the roundings that a term passes through
moves it by at most a factor 1 ± u, output and gradients are off by at most

    γ · (the same expression of the absolute values),   γ = n·u / (1 − n·u),

n being the most roundings that one term passes through (Higham, Accuracy and Stability of Numerical
Algorithms, §3.1). Whatever the order of contraction, n is at most the number of summands that are
added one after another, and the judge, in float64, computes the absolute expression as well.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from stdcf import STDCFConv3d
from stdcf.layers import plans
from stdcf.layers.cpu.library import library, problem
from stdcf.layers.plain import PLANS

Triple = tuple[int, int, int]
NAMES = ("output", "x", "coefficients", "spatial", "temporal", "bias")
# Half the distance from 1 to the next number.
UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}
# Of oneDNN's bfloat16 convolutions those for AMX and for AVX-512 without its bfloat16 instructions
# are wrong at odd shapes: they multiply what was in memory before, and with AMX some crash the
# process (oneDNN 3.12 in torch 2.15; F.conv3d by itself shows it).
SOUND_INSTRUCTIONS = ("AVX2", "AVX512_CORE_BF16")
SOUND_BFLOAT16 = (
    os.environ.get("ONEDNN_MAX_CPU_ISA") in SOUND_INSTRUCTIONS
    or not torch.cpu._is_avx512_supported()
    or (torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported())
)


@dataclass(frozen=True)
class Case:
    """A layer and an input; `layout` is how the input lies in memory."""

    in_channels: int
    out_channels: int
    groups: int
    kernel_size: Triple
    stride: Triple
    padding: Triple
    dilation: Triple
    bias: bool
    batch: int
    input_size: Triple
    num_spatial_atoms: int
    num_temporal_atoms: int
    layout: str
    seed: int

    @property
    def options(self) -> dict[str, Any]:
        """F.conv3d's."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def layer(self, dtype: torch.dtype) -> STDCFConv3d:
        torch.manual_seed(self.seed)
        return STDCFConv3d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            **self.options,
            bias=self.bias,
            dtype=dtype,
            num_spatial_atoms=self.num_spatial_atoms,
            num_temporal_atoms=self.num_temporal_atoms,
        )

    def input(self, dtype: torch.dtype) -> Tensor:
        x = torch.randn(self.batch, self.in_channels, *self.input_size).to(dtype)
        if self.layout == "channels_last":
            x = x.to(memory_format=torch.channels_last_3d)
        elif self.layout == "strided":
            x = x.transpose(2, 4).contiguous().transpose(2, 4)
        return x.requires_grad_()

    def output_size(self) -> list[int]:
        return [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                self.input_size,
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        ]

    def torch_differentiates(self) -> bool:
        """Whether torch's own filter gradient is right in float32 and bfloat16.

        Where the filter is longer than the input, or a tap of it sees padding alone, oneDNN's
        leaves numbers unwritten in bfloat16 and writes past its end in float32 (torch 2.15).
        """
        axes = zip(
            self.input_size,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.output_size(),
            strict=True,
        )
        return all(
            n > d * (k - 1)
            and all(any(0 <= o * s - p + d * i < n for o in range(out)) for i in range(k))
            for n, k, s, p, d, out in axes
        )

    def summands(self) -> int:
        """At least the additions that one term passes through, in any order of contraction."""
        k_t, k_h, k_w = self.kernel_size
        m, n, k_s = self.num_spatial_atoms, self.num_temporal_atoms, k_h * k_w
        taps = max(m, k_s) * max(n, k_t)
        out = torch.Size(self.output_size()).numel()
        positions = self.batch * max(torch.Size(self.input_size).numel(), out)
        channels = self.in_channels + self.out_channels
        return channels * taps + self.in_channels * self.out_channels + positions + 3 * taps


@st.composite
def cases(draw: st.DrawFn, max_channels: int = 130) -> Case:
    groups = draw(st.integers(1, 3))
    in_channels = groups * draw(st.integers(1, max_channels // groups))
    kernel_size = draw(st.tuples(*[st.integers(1, 4)] * 3))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * 3))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 3))
    sizes = [
        max(d * (k - 1) + 1 - 2 * p, 1) + draw(st.integers(0, 4))
        for k, d, p in zip(kernel_size, dilation, padding, strict=True)
    ]
    return Case(
        in_channels=in_channels,
        out_channels=groups * draw(st.integers(1, 5)),
        groups=groups,
        kernel_size=kernel_size,
        stride=draw(st.tuples(*[st.integers(1, 3)] * 3)),
        padding=padding,
        dilation=dilation,
        bias=draw(st.booleans()),
        batch=draw(st.integers(1, 3)),
        input_size=tuple(sizes),
        num_spatial_atoms=draw(st.integers(1, 8)),
        num_temporal_atoms=draw(st.integers(1, 4)),
        layout=draw(st.sampled_from(["contiguous", "channels_last", "strided"])),
        seed=draw(st.integers(0, 2**16)),
    )


def dense(tensors: list[Tensor], grad: Tensor, options: dict[str, Any]) -> list[Tensor]:
    """Output and gradients of x, α, ψ, φ (and bias) by one dense convolution in float64."""
    leaves = [t.detach().double().requires_grad_() for t in tensors]
    x, coefficients, spatial, temporal, *bias = leaves
    weight = torch.einsum(
        "ocij,ihw,jt->octhw", coefficients.unflatten(2, (len(spatial), -1)), spatial, temporal
    )
    y = F.conv3d(x, weight, *bias, **options)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad.double())]


def runs(layer: STDCFConv3d, *, torch_convolves: bool = True) -> Iterator[str]:
    """Sets each plan in turn, the factored one with the CPU's kernel and without.

    torch_convolves: False leaves out those that rest on torch's convolution.
    """
    for layer.plan in PLANS:
        if layer.plan == "factored" and library() is not None:
            yield "factored, fused"
        if torch_convolves:
            with without_kernel():
                yield layer.plan


@contextmanager
def without_kernel() -> Iterator[None]:
    with patch.object(plans, "library", lambda: None):
        yield


def tensors_of(layer: STDCFConv3d, x: Tensor) -> list[Tensor]:
    parameters = [layer.coefficients, layer.spatial_atoms, layer.temporal_atoms]
    return [x, *parameters, *([] if layer.bias is None else [layer.bias])]


def assert_bounded(case: Case, dtype: torch.dtype, autocast: bool = False) -> None:
    layer = case.layer(torch.float32 if autocast else dtype)
    tensors = tensors_of(layer, case.input(layer.coefficients.dtype))
    grad = torch.randn(case.batch, case.out_channels, *case.output_size()).to(dtype)
    expected = dense(tensors, grad, case.options)
    bounds = dense([t.abs() for t in tensors], grad.abs(), case.options)
    if dtype == torch.bfloat16:
        # Sums run in float32, and these are stored in bfloat16 on a term's way: maps or filter
        # (twice), output; backward the maps' gradients and each clip's share of a sum; under
        # autocast x, α, ψ and φ too, in both passes.
        stored = (8 + case.batch + 8 * autocast) * UNIT[dtype]
        gamma = stored / (1 - stored) + case.summands() * UNIT[torch.float32]
    else:
        steps = case.summands() * UNIT[dtype]
        gamma = steps / (1 - steps)
    assert gamma < 0.1
    for run in runs(layer, torch_convolves=dtype != torch.bfloat16 or SOUND_BFLOAT16):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = layer(tensors[0])
        assert y.dtype == dtype
        got = [y, *torch.autograd.grad(y, tensors, grad)]
        for name, a, b, bound in zip(NAMES, got, expected, bounds, strict=False):
            assert a.shape == b.shape
            # What is not a number is off as well.
            off = ~((a.detach().double() - b).abs() <= gamma * bound)
            assert not off.any(), f"{run}: {name} beyond its bound at {off.sum()} of {off.numel()}"


def test_the_kernel_is_there() -> None:
    """Else the tests below say nothing about it. Only without a compiler may it be missing."""
    compilers = [name for name in ("g++", "clang++", "c++") if shutil.which(name)]
    wanted = bool(compilers) and os.environ.get("STDCF_KERNEL") != "0"
    assert (library() is not None) == wanted, problem()


@given(case=cases())
def test_float64(case: Case) -> None:
    assert_bounded(case, torch.float64)


@given(case=cases())
def test_float32(case: Case) -> None:
    assume(case.torch_differentiates())
    assert_bounded(case, torch.float32)


@given(case=cases(), autocast=st.booleans())
def test_bfloat16(case: Case, autocast: bool) -> None:
    assume(case.torch_differentiates())
    assert_bounded(case, torch.bfloat16, autocast)


@pytest.mark.skipif(SOUND_BFLOAT16, reason="test_bfloat16 has run every plan")
def test_bfloat16_of_every_plan() -> None:
    """`test_bfloat16` in a process of its own, for oneDNN asks once what it may use."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"{__file__}::test_bfloat16"],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": SOUND_INSTRUCTIONS[0]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("in_channels", [1, 17, 64, 130])
def test_rounding_errors_do_not_add_up(in_channels: int, dtype: torch.dtype) -> None:
    """Independent roundings of random signs give √n·u and not n·u (Higham and Mary, 2019, Thm 2.4),

    of the root of the sum of the terms' squares: the same expression of the squares. So where a sum
    has thousands of terms this bound is the sharper, by far.
    """
    case = Case(
        in_channels=in_channels,
        out_channels=24,
        groups=1,
        kernel_size=(3, 3, 3),
        stride=(1, 1, 1),
        padding=(1, 1, 1),
        dilation=(1, 1, 1),
        bias=True,
        batch=2,
        input_size=(4, 9, 8),
        num_spatial_atoms=6,
        num_temporal_atoms=2,
        layout="channels_last" if in_channels > 64 else "contiguous",
        seed=0,
    )
    layer = case.layer(dtype)
    tensors = tensors_of(layer, case.input(dtype))
    grad = torch.randn(2, 24, *case.output_size()).to(dtype)
    expected = dense(tensors, grad, case.options)
    squares = dense([t.double().square() for t in tensors], grad.double().square(), case.options)
    # Half a unit at the most is 1/√3 of it in the mean; the same margin, 5, for both types.
    steps = case.summands() if dtype == torch.float32 else 8 + case.batch
    bound = 5 * (steps / 3) ** 0.5 * UNIT[dtype]
    for run in runs(layer):
        y = layer(tensors[0])
        got = [y, *torch.autograd.grad(y, tensors, grad)]
        for name, a, b, square in zip(NAMES, got, expected, squares, strict=True):
            error = (a.detach().double() - b).square().sum().sqrt() / square.sum().sqrt()
            assert error < bound, f"{run}: {name}"


@given(case=cases(max_channels=20), needs=st.tuples(*[st.booleans()] * 5))
def test_only_what_is_asked_for_gets_a_gradient(case: Case, needs: tuple[bool, ...]) -> None:
    case = replace(case, bias=True)
    layer = case.layer(torch.float64)
    tensors = tensors_of(layer, case.input(torch.float64))
    grad = torch.randn(case.batch, case.out_channels, *case.output_size(), dtype=torch.float64)
    expected = dense(tensors, grad, case.options)[1:]
    for tensor, needed in zip(tensors, needs, strict=True):
        tensor.requires_grad_(needed)
    for run in runs(layer):
        y = layer(tensors[0])
        assert y.requires_grad == any(needs), run
        if not any(needs):
            continue
        y.backward(grad)
        for name, tensor, needed, exact in zip(NAMES[1:], tensors, needs, expected, strict=True):
            assert (tensor.grad is not None) == needed, f"{run}: {name}"
            if tensor.grad is not None:
                error = (tensor.grad - exact).abs().max()
                assert error <= 1e-10 * exact.abs().max(), f"{run}: {name}"
                tensor.grad = None


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_an_empty_batch(layout: str) -> None:
    layer = STDCFConv3d(4, 6, 3, padding=1, stride=2)
    x = torch.randn(0, 4, 5, 6, 7)
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last_3d)
    x.requires_grad_()
    for run in runs(layer):
        y = layer(x)
        assert y.shape == (0, 6, 3, 3, 4), run
        tensors = tensors_of(layer, x)
        for tensor, grad in zip(tensors, torch.autograd.grad(y.sum(), tensors), strict=True):
            assert grad.shape == tensor.shape, run
            assert not grad.any(), run


@pytest.mark.parametrize("fill", ["expanded", "sliced", "channels_last"])
def test_gradients_of_any_layout(fill: str) -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(5, 6, 3, padding=1, dtype=torch.float64)
    shape = (2, 6, 4, 5, 7)
    grad = {
        "expanded": torch.ones((), dtype=torch.float64).expand(shape),
        "sliced": torch.randn(2, 12, 4, 5, 14, dtype=torch.float64)[:, ::2, :, :, ::2],
        "channels_last": torch.randn(shape, dtype=torch.float64).to(
            memory_format=torch.channels_last_3d
        ),
    }[fill]
    for memory_format in (torch.contiguous_format, torch.channels_last_3d):
        x = torch.randn(2, 5, 4, 5, 7, dtype=torch.float64).to(memory_format=memory_format)
        tensors = tensors_of(layer, x.requires_grad_())
        expected = dense(tensors, grad, {"padding": 1})[1:]
        for run in runs(layer):
            got = torch.autograd.grad(layer(x), tensors, grad)
            for name, a, b in zip(NAMES[1:], got, expected, strict=True):
                assert (a - b).abs().max() <= 1e-10 * b.abs().max(), f"{run}: {name}"
