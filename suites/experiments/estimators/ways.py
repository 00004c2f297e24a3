"""Estimates of a training step's peak memory by several programs, without a GPU."""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from stdcf.memory import predict_peak
from stdcf.memory.report import MARGIN
from stdcf.memory.savers import parse_savers
from stdcf.memory.step import StepOptions
from suites.experiments.gpu_evidence.cases import Case
from suites.experiments.gpu_evidence.memory_task import draw_case, step_arguments

# Values that an optimiser keeps for each parameter.
_STATES = {"adam": 2, "sgd": 1}


@dataclass(frozen=True)
class Estimator:
    """A program that estimates.

    Attributes:
        package: what has to be installed, as pip takes it; "": nothing beside torch.
        estimate: bytes of a step, by name; one program may give several.
    """

    package: str
    estimate: Callable[[Case], Mapping[str, int]]


def predicted(one: Case) -> dict[str, int]:
    """This project's: what is allocated, and the smallest cap with the margin that plans add."""
    report = predict_peak(partial(draw_case, one), device="cuda", **step_arguments(one))
    least = report.smallest_cap_bytes or 0
    return {"allocated": report.allocated_bytes or 0, "cap": math.ceil((1 + MARGIN) * least)}


def tracked(one: Case) -> dict[str, int]:
    """torch.distributed._tools.mem_tracker.MemTracker around two steps on fake tensors on CPU."""
    from torch.distributed._tools.mem_tracker import MemTracker

    arguments = step_arguments(one)
    shape = arguments.pop("input_shape")
    arguments["savers"] = parse_savers(arguments["savers"])
    with _quiet(), FakeTensorMode():
        options = StepOptions(**arguments)
        step = options.build(draw_case(one), shape, torch.device("cpu"), foreach=True)
        tracker = MemTracker()
        tracker.track_external(step.model, step.optimizer, step.clip_BCTHW)
        with tracker:
            step.warm_up()
            tracker.reset_mod_stats()
            step()
        peak = tracker.get_tracker_snapshot("peak")
    return {"peak": max(int(found["Total"]) for found in peak.values())}


def kitsune(one: Case) -> dict[str, int]:
    """torch-kitsune's predict_memory.

    In float32 its pass through the network runs on fake tensors, which gives the same number
    without the time and the memory; in bfloat16 it makes none.
    """
    from kitsune.predict import predict_memory

    with _quiet(), _fake_shapes() if one["dtype"] == "float32" else nullcontext():
        found = predict_memory(
            draw_case(one),
            tuple(one["clip"]),
            batch_size=one["batch"],
            dtype=one["dtype"],
            optimizer=one["optimizer"],
            training=True,
        )
    return {"peak": int(found.total_bytes)}


def vram_check(one: Case) -> dict[str, int]:
    """vram-check's analyze, which goes by the number of parameters."""
    from vram_check import analyze

    with _quiet():
        report = analyze(
            draw_case(one),
            batch_size=one["batch"],
            dtype={"float32": "fp32", "bfloat16": "bf16"}[one["dtype"]],
            optimizer=one["optimizer"],
        )
    return {"peak": int(report["estimate"].total_bytes)}


def formula(one: Case) -> dict[str, int]:
    """Parameters, gradients and optimiser's state, the clips, and every layer's output once."""
    outputs = 0

    def count(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal outputs
        if isinstance(output, Tensor) and not any(True for _ in module.children()):
            outputs += output.numel() * output.element_size()

    with _quiet(), FakeTensorMode(), torch.no_grad():
        model = draw_case(one).train()
        for module in model.modules():
            module.register_forward_hook(count)
        clip = torch.rand(one["batch"], *one["clip"])
        with torch.autocast("cpu", torch.bfloat16, enabled=one["dtype"] == "bfloat16"):
            model(clip)
        parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    kept = parameters * (2 + _STATES[one["optimizer"]])
    return {"peak": kept + clip.numel() * clip.element_size() + outputs}


ESTIMATORS: dict[str, Estimator] = {
    "predict_peak": Estimator("", predicted),
    "mem_tracker": Estimator("", tracked),
    "kitsune": Estimator("torch-kitsune", kitsune),
    "vram_check": Estimator("vram-check", vram_check),
    "formula": Estimator("", formula),
}


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _fake_shapes() -> Iterator[None]:
    """torch.fx's propagation of shapes on fake tensors, for who asks for it within."""
    from torch.fx.passes import shape_prop

    own = shape_prop.ShapeProp
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    shape_prop.ShapeProp = partial(own, fake_mode=mode)  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        shape_prop.ShapeProp = own  # type: ignore[misc]
