"""The operators: torch's own checks, compilers, counters, second derivatives, what is kept."""

import io

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stdcf import STDCFConv3d
from stdcf.layers.cuda import fused  # noqa: F401, it registers the operators
from tests.layers.test_plan_memory import kept_bytes

KERNEL = (1, 1, 2)
OPTIONS = {"padding": (0, 0, 1), "groups": 2, "num_spatial_atoms": 2, "num_temporal_atoms": 1}


def make(last: bool = False, **options: object) -> tuple[STDCFConv3d, Tensor]:
    torch.manual_seed(0)
    layer = STDCFConv3d(4, 6, KERNEL, plan="factored", **{**OPTIONS, **options})
    x = torch.randn(2, 4, 2, 2, 3).to(layer.coefficients.dtype)
    if last:
        x = x.to(memory_format=torch.channels_last_3d)
    return layer, x.requires_grad_()


def everything(layer: torch.nn.Module, x: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    y = layer(x)
    slope = torch.linspace(-1, 1, y.numel()).view(y.shape).to(y)
    return [y.detach(), *torch.autograd.grad(y, inputs, slope)]


def assert_close(got: list[Tensor], expected: list[Tensor]) -> None:
    """float32, sums of at most some hundred terms."""
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("check", ["test_schema", "test_autograd_registration", "test_faketensor"])
def test_torchs_checks_of_both_operators(check: str, last: bool) -> None:
    layer, x = make(last)
    values = (x, layer.coefficients, layer.spatial_atoms, layer.temporal_atoms)
    geometry = ([1, 1, 1], [0, 0, 1], [1, 1, 1], 2)
    slope = torch.randn(2, 6, 2, 2, 4)
    for operator, arguments in (
        (torch.ops.stdcf.fused_conv3d.default, (*values, layer.bias, *geometry)),
        (torch.ops.stdcf.fused_conv3d_backward.default, (slope, *values, *geometry, last, True)),
    ):
        torch.library.opcheck(operator, arguments, test_utils=check)


def test_compiled_once_for_all_sizes_as_one_operator() -> None:
    layer, x = make()
    called = set()

    def backend(graph: torch.fx.GraphModule, example: list[Tensor]) -> object:
        called.update(str(n.target) for n in graph.graph.nodes if n.op == "call_function")
        return torch._dynamo.backends.debugging.aot_eager(graph, example)

    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend=backend)
    tensors = [x, *layer.parameters()]
    assert_close(everything(compiled, x, tensors), everything(layer, x, tensors))
    assert "stdcf.fused_conv3d" in called
    x = torch.randn(3, 4, 3, 3, 4, requires_grad=True)
    tensors[0] = x
    with torch.compiler.set_stance("fail_on_recompile"):
        got = everything(compiled, x, tensors)
    assert_close(got, everything(layer, x, tensors))


def test_exported_saved_and_loaded() -> None:
    layer, x = make()
    file = io.BytesIO()
    torch.export.save(torch.export.export(layer, (x.detach(),), strict=False), file)
    file.seek(0)
    torch.testing.assert_close(torch.export.load(file).module()(x.detach()), layer(x.detach()))


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 1, 2)])
def test_second_derivatives(stride: tuple[int, int, int]) -> None:
    def twice(layer: STDCFConv3d, x: Tensor) -> list[Tensor]:
        tensors = [x, *layer.parameters()]
        first = torch.autograd.grad(layer(x).square().sum(), tensors, create_graph=True)
        return list(torch.autograd.grad(sum(g.square().sum() for g in first), tensors))

    layer, x = make(stride=stride, groups=1)
    got = twice(layer, x)
    exact = STDCFConv3d(
        4,
        6,
        KERNEL,
        plan="composed",
        dtype=torch.float64,
        **{**OPTIONS, "stride": stride, "groups": 1},
    )
    exact.load_state_dict(layer.state_dict())
    expected = twice(exact, x.detach().double().requires_grad_())
    for a, b in zip(got, expected, strict=True):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()


@pytest.mark.parametrize("needed", [0, 1, 2, 3, 4])
def test_only_what_is_asked_for_gets_a_gradient(needed: int) -> None:
    layer, x = make()
    tensors = [x, layer.coefficients, layer.spatial_atoms, layer.temporal_atoms, layer.bias]
    for number, tensor in enumerate(tensors):
        tensor.requires_grad_(number == needed)
    layer(x).sum().backward()
    for number, tensor in enumerate(tensors):
        assert (tensor.grad is not None) == (number == needed)
    got, layer.plan = tensors[needed].grad, "composed"
    tensors[needed].grad = None
    layer(x).sum().backward()
    assert_close([got], [tensors[needed].grad])


def test_an_empty_batch() -> None:
    layer, _ = make()
    x = torch.randn(0, 4, 2, 2, 3, requires_grad=True)
    tensors = [x, *layer.parameters()]
    y, *grads = everything(layer, x, tensors)
    assert y.shape == (0, 6, 2, 2, 4)
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("fill", ["expanded", "sliced"])
def test_gradients_of_any_layout(fill: str) -> None:
    layer, x = make()
    grad = torch.ones(()).expand(2, 6, 2, 2, 4)
    if fill == "sliced":
        grad = torch.randn(2, 12, 2, 2, 8)[:, ::2, :, :, ::2]
    tensors = [x, *layer.parameters()]
    got = torch.autograd.grad(layer(x), tensors, grad)
    layer.plan = "composed"
    assert_close(list(got), list(torch.autograd.grad(layer(x), tensors, grad)))


def test_the_input_alone_is_kept() -> None:
    layer, x = make()
    assert kept_bytes(layer, lambda: layer(x)) == x.numel() * 4


def test_what_the_kernel_does_not_cover_runs_by_torchs_convolutions() -> None:
    for options, kernel in (({"dtype": torch.float64}, KERNEL), ({}, (1, 1, 9))):
        layer = STDCFConv3d(4, 6, kernel, plan="factored", padding=(0, 0, 4), **options)
        x = torch.randn(1, 4, 2, 2, 3, dtype=layer.coefficients.dtype)
        y = layer(x)
        assert "fused_conv3d" not in type(y.grad_fn).__name__
        layer.plan = "composed"
        torch.testing.assert_close(y, layer(x))


def test_flops_are_counted() -> None:
    """Twice the multiply-accumulates; per output position 6·2·2 of the product, and the maps'."""
    layer, x = make()
    with FlopCounterMode(display=False) as counter:
        y = layer(x)
        forward = counter.get_total_flops()
        y.sum().backward()
    positions = 2 * 2 * 2 * 4
    product, maps = positions * 6 * 2 * 2, positions * 4 * 2 * (2 + 1)
    assert forward == 2 * (product + maps)
    # α; ψ and φ; x, whose positions are the input's and whose channels are exchanged.
    transposed = 2 * 2 * 2 * 3 * (4 * 3 * 2 + 6 * 2 * 3)
    parameters = (product + maps) + (product + 2 * maps)
    assert counter.get_total_flops() == forward + 2 * (parameters + transposed)
