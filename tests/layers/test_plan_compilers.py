"""Plans under torch.compile, torch.export, traces, and functional transforms of a whole network."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from stdcf import STDCFConv3d
from stdcf.layers import plans
from stdcf.layers.cpu.library import library, problem
from stdcf.layers.plain import PLANS

OPTIONS = {"stride": (1, 2, 1), "padding": 1, "groups": 2}


@pytest.fixture(params=[*PLANS, "factored, fused", "auto, fused"])
def layer(request: pytest.FixtureRequest) -> Iterator[STDCFConv3d]:
    plan, _, fused = request.param.partition(", ")
    if fused and library() is None:
        pytest.skip(f"no CPU kernel: {problem()}")
    torch.manual_seed(0)
    torch._dynamo.reset()
    with ExitStack() as stack:
        if not fused:
            stack.enter_context(patch.object(plans, "library", lambda: None))
        yield STDCFConv3d(4, 6, 3, plan=plan, **OPTIONS)


def clips(batch: int, *size: int) -> Tensor:
    return torch.randn(batch, 4, *size, requires_grad=True)


def assert_same(layer: STDCFConv3d, other: nn.Module, x: Tensor) -> None:
    """Output and gradients: float32, with sums of at most some hundred terms."""
    y, expected = other(x), layer(x)
    tensors = [x, *layer.parameters()]
    slope = torch.randn_like(expected)
    got = [y, *torch.autograd.grad(y, tensors, slope)]
    for a, b in zip(got, [expected, *torch.autograd.grad(expected, tensors, slope)], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.detach().abs().max()))


def test_compiled_without_a_graph_break(layer: STDCFConv3d) -> None:
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = clips(2, 5, 6, 7)
    assert_same(layer, compiled, x)
    last = x.detach().to(memory_format=torch.channels_last_3d).requires_grad_()
    assert_same(layer, compiled, last)
    assert compiled(x.detach()[:0]).shape == (0, 6, 5, 3, 7)


def test_compiled_once_for_all_sizes(layer: STDCFConv3d) -> None:
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    assert_same(layer, compiled, clips(2, 5, 6, 7))
    with torch.compiler.set_stance("fail_on_recompile"):
        assert_same(layer, compiled, clips(3, 4, 8, 9))


@pytest.mark.slow
@pytest.mark.parametrize("plan", [*PLANS, "auto"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_compiled_by_inductor(plan: str) -> None:
    torch.manual_seed(0)
    torch._dynamo.reset()
    layer = STDCFConv3d(4, 6, 3, plan=plan, **OPTIONS)
    compiled = torch.compile(layer, fullgraph=True)
    assert_same(layer, compiled, clips(2, 5, 6, 7))


def test_a_compiled_graph_holds_the_fused_operator() -> None:
    if library() is None:
        pytest.skip(f"no CPU kernel: {problem()}")
    graphs = []

    def keep(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    torch.compile(STDCFConv3d(4, 6, 3, plan="factored"), backend=keep, fullgraph=True)(
        clips(1, 4, 4, 4)
    )
    called = {str(node.target) for node in graphs[0].graph.nodes if node.op == "call_function"}
    assert "stdcf.factored_conv3d" in called


def test_exported_saved_and_loaded(layer: STDCFConv3d) -> None:
    x = clips(2, 5, 6, 7).detach()
    file = io.BytesIO()
    torch.export.save(torch.export.export(layer, (x,), strict=False), file)
    file.seek(0)
    again = torch.export.load(file).module()
    torch.testing.assert_close(again(x), layer(x), rtol=1e-5, atol=1e-5)


def test_exported_for_any_number_of_clips(layer: STDCFConv3d) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    x = clips(2, 5, 6, 7).detach()
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},), strict=False)
    for n in (1, 5):
        x = clips(n, 5, 6, 7).detach()
        torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-5, atol=1e-5)


def test_traced_by_plain_operators(layer: STDCFConv3d) -> None:
    """What fvcore and older exporters read."""
    x = clips(2, 5, 6, 7).detach()
    with pytest.warns(FutureWarning, match="torch.jit.trace"):
        traced = torch.jit.trace(layer, x)
    assert "stdcf::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(x), layer(x), rtol=1e-5, atol=1e-5)
