"""Derivatives of every plan: numerically, twice, forward, and by torch.func."""

from collections.abc import Iterator
from contextlib import ExitStack
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import functional as F

from stdcf import STDCFConv3d
from stdcf.layers import plans
from stdcf.layers.cpu.library import library, problem
from stdcf.layers.plain import PLANS

NAMES = ("coefficients", "spatial_atoms", "temporal_atoms", "bias")
# Strided, dilated, padded and grouped, with a block of channels that is not full.
OPTIONS = {"stride": (1, 2, 1), "padding": (1, 0, 1), "dilation": (1, 1, 2), "groups": 2}


@pytest.fixture(params=[*PLANS, "factored, fused"])
def plan(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a plan; the factored one with the CPU's kernel and without."""
    name, _, fused = request.param.partition(", ")
    with ExitStack() as stack:
        if not fused:
            stack.enter_context(patch.object(plans, "library", lambda: None))
        elif library() is None:
            pytest.skip(f"no CPU kernel: {problem()}")
        yield name


def small(plan: str, **options: object) -> tuple[STDCFConv3d, Tensor]:
    torch.manual_seed(0)
    options = OPTIONS | {"dtype": torch.float64} | options
    layer = STDCFConv3d(4, 2, (2, 3, 2), num_spatial_atoms=2, plan=plan, **options)
    return layer, torch.randn(2, 4, 2, 4, 3, dtype=torch.float64, requires_grad=True)


def as_function(layer: STDCFConv3d, x: Tensor) -> tuple[object, list[Tensor]]:
    tensors = [x, *(getattr(layer, name) for name in NAMES)]

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(NAMES, values, strict=True)), x)

    return call, tensors


def test_gradients_are_the_numerical_ones(plan: str) -> None:
    assert gradcheck(*as_function(*small(plan)))


def test_second_derivatives_are_the_numerical_ones(plan: str) -> None:
    assert gradgradcheck(*as_function(*small(plan)))


@pytest.mark.parametrize("frozen", [("x",), ("spatial_atoms", "temporal_atoms"), ("coefficients",)])
def test_second_derivatives_with_frozen_parts(plan: str, frozen: tuple[str, ...]) -> None:
    layer, x = small(plan)
    call, tensors = as_function(layer, x)
    for name, tensor in zip(("x", *NAMES), tensors, strict=True):
        tensor.requires_grad_(name not in frozen)
    assert gradgradcheck(call, tensors)


def test_a_gradient_penalty_trains(plan: str) -> None:
    """‖∂L/∂x‖² differentiated by every parameter, as a dense convolution does it."""
    layer, x = small(plan)
    found = []
    for forward in (
        lambda: layer(x),
        lambda: F.conv3d(x, layer.compose_weight(), layer.bias, **OPTIONS),
    ):
        layer.zero_grad()
        (slope,) = torch.autograd.grad(forward().square().sum(), x, create_graph=True)
        slope.square().sum().backward()
        found.append([getattr(layer, name).grad for name in NAMES])
    for name, ours, dense in zip(NAMES, *found, strict=True):
        assert (ours - dense).abs().max() <= 1e-10 * dense.abs().max(), name


def test_torch_func_differentiates_as_autograd_does(plan: str) -> None:
    layer, x = small(plan)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}

    def loss(parameters: dict[str, Tensor], x_CTHW: Tensor) -> Tensor:
        return functional_call(layer, parameters, x_CTHW).square().sum()

    layer(x).square().sum().backward()
    found = grad(loss)(parameters, x.detach())
    by_clip = vmap(grad(loss), in_dims=(None, 0))(parameters, x.detach())
    for name, p in layer.named_parameters():
        assert torch.allclose(found[name], p.grad, rtol=1e-10), name
        assert torch.allclose(by_clip[name].sum(0), p.grad, rtol=1e-10), name


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_forward_mode(plan: str) -> None:
    """Without bias the layer is linear: its derivative along v is the layer of v."""
    layer, x = small(plan, bias=False)
    v = torch.randn_like(x)
    _, tangent = jvp(layer, (x.detach(),), (v,))
    assert torch.allclose(tangent, layer(v), rtol=1e-10)
    with forward_ad.dual_level():
        dual = layer(forward_ad.make_dual(x.detach(), v))
        assert torch.allclose(forward_ad.unpack_dual(dual).tangent, layer(v), rtol=1e-10)
    assert layer(x).requires_grad


def test_complex_numbers(plan: str) -> None:
    layer, _ = small(plan, dtype=torch.complex128)
    x = torch.randn(1, 4, 2, 4, 3, dtype=torch.complex128, requires_grad=True)
    tensors = [x, *layer.parameters()]
    got, expected = layer(x), F.conv3d(x, layer.compose_weight(), layer.bias, **OPTIONS)
    slope = torch.randn_like(got)
    for a, b in zip(
        (got, *torch.autograd.grad(got, tensors, slope)),
        (expected, *torch.autograd.grad(expected, tensors, slope)),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-10)


def test_nothing_but_the_output_without_gradients(plan: str) -> None:
    layer, x = small(plan)
    expected = layer(x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y = layer(x)
        assert not y.requires_grad
        assert torch.equal(y, expected)
