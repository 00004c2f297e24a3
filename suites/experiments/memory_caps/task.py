"""What one network with one layer needs under every technique, and how much of it fits each cap."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import mean, median
from typing import Any

import torch
from torch import nn

from stdcf.memory.meter import StepMeter
from stdcf.memory.predict import Predictor
from stdcf.memory.report import MemoryReport
from stdcf.memory.savers import parse_savers
from stdcf.memory.step import StepOptions, TrainingStep
from stdcf.stages.apply import apply_stage
from stdcf.stages.stage import Stage
from suites.engine.catalog import build_any
from suites.engine.task import Run
from suites.experiments.memory_caps.techniques import (
    CAPS_GIB,
    GIB,
    NETWORKS,
    TECHNIQUES,
    Network,
    schedule_of,
)
from suites.planning.planner import Planner


def measure(run: Run) -> dict[str, Any]:
    """The task "memory_caps": predictions for a GPU, and real steps on this device."""
    spec = run.spec
    run.settle()
    network = NETWORKS[spec.model]

    def model_fn() -> nn.Module:
        return build_any(
            spec.model,
            num_classes=network.classes,
            in_channels=network.clip[0],
            layer=spec.layer,
            layer_options=spec.layer_options,
        )

    found = _predicted(model_fn, network)
    if spec.options["rounds"]:
        real = _measured(model_fn, network, run.where, spec.options["rounds"])
        for name, fields in real.items():
            found[name] |= fields
    plain, itsl = found["full size"], found["ITSL"]
    return {
        "status": "ok",
        "reason": None,
        "input_shape": [network.batch, *network.clip],
        "measured_shape": list(network.measured),
        "optimizer": network.optimizer,
        "techniques": found,
        "predicted_cuda_peak_bytes": plain["peak_bytes"],
        "measured_peak_bytes": plain.get("measured_peak_bytes"),
        "measured_by": plain.get("measured_by"),
        "summary": f"full size {plain['peak_bytes'] / GIB:.2f} GiB, "
        f"ITSL {itsl['peak_bytes'] / plain['peak_bytes']:.2f} of it",
    }


def _predicted(model_fn: Callable[[], nn.Module], network: Network) -> dict[str, dict[str, Any]]:
    # The caps are the allocator's: networks stand beside one another, not cards.
    planner = Planner(
        model_fn, network.clip, network.batch, context_bytes=0, optimizer=network.optimizer
    )
    found: dict[str, dict[str, Any]] = {}
    for technique in TECHNIQUES:
        schedule = schedule_of(technique)
        ways = [planner.way(schedule, technique.savers, int(cap * GIB)) for cap in CAPS_GIB]
        way = planner.confirmed(ways[0])
        if way is None:
            continue
        found[technique.name] = {
            "schedule": technique.schedule,
            "savers": list(technique.savers),
            "peak_bytes": way.peak_bytes,
            "reserved_bytes": way.reserved_bytes,
            "smallest_cap_bytes": way.smallest_cap_bytes,
            "host_bytes": way.host_bytes,
            "step_cost": way.step_cost,
            "training_cost": way.training_cost,
            # Clips of a step that fit, fractions included: 0.5 is half of a clip's positions.
            "room": {f"{cap:g}": other.room for cap, other in zip(CAPS_GIB, ways, strict=True)},
        }
    return found


def _measured(
    model_fn: Callable[[], nn.Module], network: Network, device: torch.device, rounds: int
) -> dict[str, dict[str, Any]]:
    """Peak and time of real steps on small clips."""
    model = model_fn().to(device)
    predictor = Predictor(model_fn, str(device))
    steps: dict[str, list[tuple[Stage, TrainingStep]]] = {}
    found: dict[str, dict[str, Any]] = {}
    # One for all times: a state for each technique would be the most of all memory.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    for technique in TECHNIQUES:
        # A batch of one clip has no micro-batches.
        if network.measured[0] == 1 and any("accumulate" in word for word in technique.savers):
            continue
        reports, predicted = [], []
        steps[technique.name] = []
        for stage in schedule_of(technique).stages:
            options = StepOptions(
                optimizer=network.optimizer, stage=stage, savers=parse_savers(technique.savers)
            )
            step = options.build(model, network.measured, device)
            step.warm_up()
            reports.append(_peak(step))
            report = predictor.peak(
                network.measured,
                optimizer=network.optimizer,
                stage=stage,
                savers=technique.savers,
            )
            predicted.append(report.peak_bytes)
            steps[technique.name].append((stage, replace(step, optimizer=optimizer)))
        largest = max(reports, key=lambda report: report.peak_bytes)
        found[technique.name] = {
            "measured_peak_bytes": largest.peak_bytes,
            "measured_by": largest.measured_by,
            "predicted_here_bytes": max(predicted),
        }
    for name, seconds in _seconds(steps, rounds, device).items():
        found[name]["step_seconds"] = seconds
    return found


def _peak(step: TrainingStep) -> MemoryReport:
    meter = StepMeter(step.model, step.optimizer, measured_step=0)
    with meter.step(step.clip_BCTHW, step.target):
        step()
    assert meter.report is not None
    return meter.report


def _seconds(
    steps: Mapping[str, Sequence[tuple[Stage, TrainingStep]]], rounds: int, device: torch.device
) -> dict[str, float]:
    """Mean over a technique's stages of the median time of a step, the techniques in turn."""
    times: dict[str, dict[str, list[float]]] = {name: {} for name in steps}
    for _ in range(rounds):
        for name, stages in steps.items():
            for stage, step in stages:
                apply_stage(step.model, stage)
                _wait(device)
                started = time.perf_counter()
                step()
                _wait(device)
                seconds = time.perf_counter() - started
                times[name].setdefault(stage.name, []).append(seconds)
    return {name: mean(map(median, stages.values())) for name, stages in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
