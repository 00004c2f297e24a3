"""Times one shape: every layer in both memory layouts, forward, and forward with backward."""

import copy
import gc
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stdcf.layers import STDCFConv3d
from stdcf.memory.tracking.tracker import LifeTracker
from stdcf.stages.apply import to_channels_last
from suites.engine.task import Run
from suites.experiments.layer_speed.cases import layers, missing
from suites.experiments.layer_speed.shapes import SHAPES, Shape
from suites.experiments.shared.timing import Contender, number_type, run_rounds, timings

LAYOUTS = {
    "contiguous": torch.contiguous_format,
    "channels_last_3d": torch.channels_last_3d,
}
# Of a layer's output against the dense convolution in float64.
_BOUNDS = {"float32": 1e-4, "tf32": 5e-3, "bfloat16": 5e-2}


@dataclass
class Case:
    """A layer with its input and the gradient that comes back."""

    layer: nn.Module
    x_BCTHW: Tensor  # noqa: N815
    grad_BCTHW: Tensor  # noqa: N815
    benchmark: bool = False  # cuDNN tries its algorithms and takes the fastest

    def refresh(self) -> None:
        """A new clip, and cuDNN's way of choosing."""
        torch.backends.cudnn.benchmark = self.benchmark
        with torch.no_grad():
            self.x_BCTHW.normal_()

    def forward(self) -> None:
        with torch.no_grad():
            self.layer(self.x_BCTHW)

    def step(self) -> None:
        y = self.layer(self.x_BCTHW)
        y.backward(self.grad_BCTHW)
        self.x_BCTHW.grad = None
        self.layer.zero_grad(set_to_none=True)


def measure(run: Run) -> dict[str, Any]:
    """The task "layer_speed": the row of one shape and type."""
    options = run.spec.options
    run.settle()
    shape, dtype = SHAPES[options["shape"]], number_type(options["dtype"])
    cases, contenders = _contenders(shape, options["batch"], dtype, run.where)
    wrong = [
        f"{one.name} in {one.layout} is off by {off:.1e}"
        for one, case in zip(contenders, cases, strict=True)
        if not (off := _error(case)) < _BOUNDS[options["dtype"]]
    ]
    rounds = run_rounds(run, contenders)
    measurements = []
    for one, case in zip(contenders, cases, strict=True):
        row = timings(one, contenders)
        row["params"] = sum(p.numel() for p in case.layer.parameters())
        if case.x_BCTHW.is_cuda:
            case.refresh()
        row["peak_bytes"] = peak_bytes(case)
        if isinstance(case.layer, STDCFConv3d) and case.layer.plan == "auto":
            row["plan"] = case.layer.explain(case.x_BCTHW.shape, dtype).split()[0]
        measurements.append(row)
    return {
        "status": "error" if wrong else "ok",
        "reason": "; ".join(wrong) or None,
        "summary": f"{rounds} rounds of {len(contenders)} layers",
        "rounds": rounds,
        "batch": options["batch"],
        "left_out": missing(),
        "measurements": measurements,
        "measured_by": "cuda_allocated" if run.on_gpu else "tracker_cpu",
    }


def _contenders(
    shape: Shape, batch: int, dtype: torch.dtype, device: torch.device
) -> tuple[list[Case], list[Contender]]:
    """Every layer in both layouts, with the same weights, input and gradient in each."""
    clip = torch.randn(batch, shape.in_channels, *shape.size)
    grad = torch.randn(batch, shape.out_channels, *shape.size)
    cases, contenders = [], []
    for name, build in layers(shape):
        weights = build().state_dict()
        for layout, memory_format in LAYOUTS.items():
            layer = build().to(device, dtype)
            layer.load_state_dict(weights)
            if layout == "channels_last_3d":
                layer = to_channels_last(layer)
            case = Case(
                layer,
                clip.to(device, dtype).to(memory_format=memory_format).requires_grad_(),
                grad.to(device, dtype).to(memory_format=memory_format),
            )
            cases.append(case)
            calls = {"forward": case.forward, "step": case.step}
            contenders.append(Contender(name, layout, calls))
            if device.type == "cuda":
                contenders[-1].before = case.refresh
                if name == "regular":
                    _add_benchmarked(case, layout, cases, contenders)
    return cases, contenders


def _add_benchmarked(
    case: Case, layout: str, cases: list[Case], contenders: list[Contender]
) -> None:
    """The same layer by the algorithm that cuDNN finds fastest."""
    best = Case(case.layer, case.x_BCTHW, case.grad_BCTHW, benchmark=True)
    cases.append(best)
    calls = {"forward": best.forward, "step": best.step}
    name = "regular, cudnn.benchmark"
    contenders.append(Contender(name, layout, calls, before=best.refresh))


def _error(case: Case) -> float:
    """Of a layer's output against float64: the dense convolution's for STDCF, else its own."""
    clip = case.x_BCTHW[:1].detach()
    exact = copy.deepcopy(case.layer).double()
    with torch.no_grad():
        if isinstance(exact, STDCFConv3d):
            expected = nn.functional.conv3d(clip.double(), exact.compose_weight(), padding=1)
        else:
            expected = exact(clip.double())
        return float((case.layer(clip).double() - expected).norm() / expected.norm())


def peak_bytes(case: Case) -> int:
    """Bytes alive at most in one step, parameters, input and the output's gradient included."""
    gc.collect()
    alive = [case.x_BCTHW, case.grad_BCTHW]
    if not case.x_BCTHW.is_cuda:
        with LifeTracker(case.layer, None, alive) as tracker:
            case.step()
        return tracker.peak_bytes
    where = case.x_BCTHW.device
    torch.cuda.reset_peak_memory_stats(where)
    before_bytes = torch.cuda.memory_allocated(where)
    case.step()
    own = sum(t.untyped_storage().nbytes() for t in (*alive, *case.layer.parameters()))
    return torch.cuda.max_memory_allocated(where) - before_bytes + own
