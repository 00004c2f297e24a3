"""The GPU's fused kernel against float64: output and every gradient, before anything is timed."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stdcf.layers import STDCFConv3d
from stdcf.layers.cuda.library import problem
from suites.engine.task import Run
from suites.experiments.layer_speed.shapes import RESNET50
from suites.experiments.layer_speed.task import LAYOUTS
from suites.experiments.shared.timing import number_type

NAMES = ("output", "x", "coefficients", "spatial", "temporal")
# Of each against float64, relative, by norms.
BOUNDS = {"float32": 1e-4, "tf32": 5e-3, "float16": 5e-3, "bfloat16": 5e-2}
_CLIPS = 2
# Name -> channels in and out, kernel size, clip, and what else the layer is given.
_OTHERS: dict[str, tuple[int, int, Any, tuple[int, int, int], dict[str, Any]]] = {
    "halved": (64, 128, 3, (8, 28, 28), {"stride": 2, "padding": 1}),
    "dilated": (64, 64, 3, (8, 28, 28), {"dilation": (2, 1, 1), "padding": (2, 1, 1)}),
    "grouped": (64, 96, 3, (8, 28, 28), {"groups": 2, "padding": 1}),
    "stem": (3, 64, (5, 7, 7), (8, 56, 56), {"stride": (1, 2, 2), "padding": (2, 3, 3)}),
    "many atoms": (
        *(48, 80, 3, (8, 28, 28)),
        {"padding": 1, "num_spatial_atoms": 8, "num_temporal_atoms": 3},
    ),
}


def measure(run: Run) -> dict[str, Any]:
    """The task "gpu_kernel": one type in every layout and shape; without the kernel, left out."""
    name = run.spec.options["dtype"]
    run.settle()
    why = problem()
    dtype = number_type(name)
    errors: dict[str, dict[str, float]] = {}
    for shape, layer, clip in [] if why is not None else _cases(run.on_gpu):
        for layout, memory_format in LAYOUTS.items():
            run.stop_if_asked()
            x = clip.to(run.where, dtype).to(memory_format=memory_format).requires_grad_()
            errors[f"{shape}, {layout}"] = _errors(layer.to(run.where, dtype), x)
    wrong = [
        f"{case}: {part} is off by {error:.1e}"
        for case, parts in errors.items()
        for part, error in parts.items()
        if not error < BOUNDS[name]
    ]
    return {
        "status": "error" if wrong else "ok",
        "reason": "; ".join(wrong) or None,
        "dtype": name,
        "errors": errors,
        "left_out": [] if why is None else [f"the fused kernel: {why}"],
        "summary": f"{len(errors)} shapes and layouts in {name} against float64",
        "measured_by": "float64",
    }


def _cases(on_gpu: bool) -> Iterator[tuple[str, STDCFConv3d, Tensor]]:
    """Name, layer and clips; on a CPU the last of ResNet's shapes alone, and smaller."""
    torch.manual_seed(0)
    for name, shape in RESNET50.items():
        size = shape.size if on_gpu else (2, 4, 4)
        i, o = (shape.in_channels, shape.out_channels) if on_gpu else (8, 8)
        if on_gpu or name == list(RESNET50)[-1]:
            layer = STDCFConv3d(i, o, 3, padding=1, bias=False, plan="factored")
            yield name, layer, torch.randn(_CLIPS, i, *size)
    for name, (i, o, kernel, size, options) in _OTHERS.items() if on_gpu else ():
        layer = STDCFConv3d(i, o, kernel, bias=False, plan="factored", **options)
        yield name, layer, torch.randn(_CLIPS, i, *size)


def _errors(layer: STDCFConv3d, x_BCTHW: Tensor) -> dict[str, float]:
    """How far output and gradients are off the dense convolution's in float64."""
    parameters = [layer.coefficients, layer.spatial_atoms, layer.temporal_atoms]
    y = layer(x_BCTHW)
    grad = torch.randn_like(y)
    got = [y.detach(), *torch.autograd.grad(y, [x_BCTHW, *parameters], grad)]
    leaves = [t.detach().double().requires_grad_() for t in (x_BCTHW, *parameters)]
    x, coefficients, spatial, temporal = leaves
    weight = torch.einsum(
        "ocij,ihw,jt->octhw", coefficients.unflatten(2, (len(spatial), -1)), spatial, temporal
    )
    exact_y = F.conv3d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    expected = [exact_y.detach(), *torch.autograd.grad(exact_y, leaves, grad.double())]
    return {
        name: float((a.double() - b).norm() / b.norm())
        for name, a, b in zip(NAMES, got, expected, strict=True)
    }
