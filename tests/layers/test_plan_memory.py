"""What a layer keeps for backward, and that trackers and counters see what its kernel takes."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from stdcf import STDCFConv3d
from stdcf.layers import plans
from stdcf.layers.cpu import fused as fused_plan
from stdcf.layers.cpu.library import library, problem
from stdcf.layers.plain import PLANS
from stdcf.memory import LifeTracker
from stdcf.memory.tracking.allocator_events import allocator_peak

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last_3d}


def clips(layout: str, dtype: torch.dtype, *shape: int) -> Tensor:
    x = torch.ones(shape, dtype=dtype).to(memory_format=LAYOUTS[layout])
    return x.requires_grad_()


def kept_bytes(layer: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Of the storages that autograd keeps, the layer's parameters apart."""
    known = {p.untyped_storage()._cdata for p in layer.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = forward()
    assert y.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "plain"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("run", ["float32", "bfloat16", "autocast", "replicate"])
@pytest.mark.parametrize("plan", ["auto", *PLANS])
def test_a_layer_keeps_its_input_alone(plan: str, run: str, layout: str, kernel: bool) -> None:
    dtype = torch.bfloat16 if run == "bfloat16" else torch.float32
    options = {"padding": 1, "dtype": dtype}
    if run == "replicate":
        options["padding_mode"] = "replicate"
    x = clips(layout, dtype, 2, 8, 6, 10, 10)
    layer, dense = STDCFConv3d(8, 8, 3, plan=plan, **options), nn.Conv3d(8, 8, 3, **options)
    without = nullcontext() if kernel else patch.object(plans, "library", lambda: None)
    with torch.autocast("cpu", torch.bfloat16, enabled=run == "autocast"), without:
        ours = kept_bytes(layer, lambda: layer(x))
        theirs = kept_bytes(dense, lambda: dense(x))
    # Under autocast nn.Conv3d keeps its filter in bfloat16, too.
    assert ours <= theirs
    # A padding that copies keeps its input as well.
    positions = 6 * 10 * 10 + (8 * 12 * 12 if run == "replicate" else 0)
    coefficients = layer.coefficients.numel() * 2 * (run == "autocast")
    assert ours <= 16 * positions * (2 if run in ("bfloat16", "autocast") else 4) + coefficients


@pytest.fixture
def fused() -> None:
    if library() is None:
        pytest.skip(f"no CPU kernel: {problem()}")


def step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    def forward_and_backward() -> None:
        y = layer(x)
        y.backward(torch.ones_like(y))
        for tensor in (x, *layer.parameters()):
            tensor.grad = None

    return forward_and_backward


def tracked_peak(layer: nn.Module, x: Tensor) -> int:
    with LifeTracker(nn.Identity()) as tracker:
        step(layer, x)()
    return tracker.peak_bytes


def products_of(work: Callable[[], None]) -> list[tuple[Any, ...]]:
    """The arguments of the fused plan's matrix products, tensors of their own."""
    multiply, found = fused_plan._multiply, []

    def note(a: Tensor, b: Tensor, out: Tensor, add: bool = False) -> None:
        found.append((a.clone(), b.clone(), out.clone(), add))
        multiply(a, b, out, add)

    with patch.object(fused_plan, "_multiply", note):
        work()
    return found


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_prediction_tracker_and_allocator_agree_on_the_fused_plan(
    dtype: torch.dtype, layout: str
) -> None:
    shape = (2, 32, 8, 20, 20)

    def make() -> tuple[nn.Module, Tensor]:
        layer = STDCFConv3d(32, 32, 3, padding=1, plan="factored", dtype=dtype)
        return layer, clips(layout, dtype, *shape)

    real = tracked_peak(*make())
    with FakeTensorMode():
        predicted = tracked_peak(*make())
    assert predicted == real
    layer, x = make()
    products = products_of(step(layer, x))
    allocated = allocator_peak(step(layer, x))
    # What a matrix product takes within itself depends on the CPU: oneDNN's packs bfloat16
    # operands, where there is AMX into its tiles. Besides there are small copies.
    within = max(allocator_peak(partial(fused_plan._multiply, *product)) for product in products)
    assert real <= allocated <= 1.01 * real + within
    # The output, its gradient and x's, and then the scratch memory.
    assert real > 3.25 * x.numel() * x.element_size()


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_fused_plan_makes_no_whole_map(layout: str, batch: int) -> None:
    """Beyond the output, its gradient and x's there are tiles of some MiB.

    In the other layout one clip and its gradient are transposed as well, whatever the batch.
    """
    shape = (batch, 64, 16, 56, 56)
    clip_bytes = torch.Size(shape[1:]).numel() * 4
    with FakeTensorMode():
        options = {"num_spatial_atoms": 6, "num_temporal_atoms": 3, "plan": "factored"}
        layer = STDCFConv3d(64, 64, 3, padding=1, **options)
        peak = tracked_peak(layer, clips(layout, torch.float32, *shape))
    beyond = peak - 3 * batch * clip_bytes
    # All maps of one clip would be 18 times as large as it.
    assert beyond < 2 * clip_bytes * (layout == "contiguous") + 16 * 2**20


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("trains", [("spatial", "temporal", "joint"), ("joint",)])
def test_flop_counter_sees_the_fused_plan(trains: tuple[str, ...]) -> None:
    c_in, c_out, m, n, groups = 6, 4, 3, 2, 2
    layer = STDCFConv3d(
        c_in, c_out, (3, 5, 3), padding=(1, 2, 1), stride=(1, 2, 2), groups=groups, plan="factored"
    )
    for part, parameters in layer.parts().items():
        for parameter in parameters:
            parameter.requires_grad_(part in trains)
    x = torch.ones(2, c_in, 4, 8, 6)
    # Over time for every position of the input's frames, over space for the output's.
    over_time = 2 * 4 * (8 * 6) * c_in * n * 3
    over_space = 2 * 4 * (4 * 3) * c_in * n * m * (5 * 3)
    mixing = 2 * 4 * (4 * 3) * c_out * (c_in // groups) * m * n
    with FlopCounterMode(display=False) as counter:
        y = layer(x)
    assert counter.get_total_flops() == 2 * (mixing + over_time + over_space)
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    # The maps again and α's gradient; for the atoms' the maps' gradients, and two adjoint passes
    # beside the pass that gives x's gradient.
    products, passes = (2, 4) if "spatial" in trains else (1, 1)
    assert counter.get_total_flops() == 2 * (products * mixing + passes * (over_time + over_space))
