"""Clips a second of one network in training: full size, ITSL's stages, savers, compiled."""

import importlib.util
import time
from typing import Any

import torch
from torch import nn

from stdcf.memory.cap import is_out_of_memory
from stdcf.memory.savers import parse_savers
from stdcf.memory.step import StepOptions, TrainingStep
from stdcf.stages.apply import apply_stage
from suites.engine.task import Run
from suites.experiments.gpu_evidence.cases import Case
from suites.experiments.gpu_evidence.machine_task import spread
from suites.experiments.gpu_evidence.memory_task import build_case, stage_of, step_arguments
from suites.experiments.shared.timing import Contender, run_rounds

# Of a network's scores against float64: cuDNN's float32 products have TF32's ten bits by default.
_BOUNDS = {"float32": 0.02, "compiled": 0.02, "bfloat16": 0.05}


def measure(run: Run) -> dict[str, Any]:
    """The task "gpu_throughput": the spec's cases of one network in turn, round by round."""
    cases, where = _start(run)
    model = build_case(cases[0]).to(where)
    errors = _errors(model, cases, where)
    return _timed(run, [(one["name"], one, model) for one in cases], errors)


def measure_compiled(run: Run) -> dict[str, Any]:
    """The task "gpu_compiled": a case as it is and by torch.compile, in turn."""
    cases, where = _start(run)
    (one,) = cases
    if why := compiler_missing():
        return _row([], one["model"], where) | {
            "left_out": [why],
            "summary": f"torch.compile left out: no {why}",
        }
    model = build_case(one).to(where)
    started = time.perf_counter()
    compiled: Any = torch.compile(model)
    # As it will be timed: another mode, shape or type would be compiled anew.
    errors = {"compiled": _error_in_training(compiled, model, one, where)}
    seconds = time.perf_counter() - started
    forms = [(one["name"], one, model), (f"{one['name']} compiled", one, compiled)]
    return _timed(run, forms, errors) | {"compile_seconds": seconds}


def _start(run: Run) -> tuple[list[Case], torch.device]:
    run.settle()
    return run.spec.options["cases"], run.where


def _timed(
    run: Run, forms: list[tuple[str, Case, nn.Module]], errors: dict[str, float]
) -> dict[str, Any]:
    """The row: nothing is timed whose output is wrong."""
    where = run.where
    row = _row([], forms[0][1]["model"], where) | {"errors": errors}
    for kind, error in errors.items():
        if not error < _BOUNDS[kind]:
            why = f"the network's output is off by {error:.1e} ({kind}) from float64"
            return row | {"status": "error", "reason": why}
    contenders: list[Contender] = []
    batches, left_out = [], []
    for name, one, form in forms:
        run.stop_if_asked()
        try:
            contenders.append(_contender(name, one, form, where))
            batches.append(one["batch"])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            left_out.append(f"{name}: {str(error).splitlines()[0]:.80}")
    rounds = run_rounds(run, contenders)
    found = []
    for batch, way in zip(batches, contenders, strict=True):
        times = spread(way.seconds["step"])
        clips = {"batch": batch, "clips_per_second": batch / times["seconds"]}
        found.append({"name": way.name, **clips, **times, "rounds": len(way.seconds["step"])})
    summary = f"{rounds} rounds of {len(contenders)} ways"
    return row | {"throughput": found, "left_out": left_out, "summary": summary}


def compiler_missing() -> str | None:
    """What torch.compile needs on a GPU and is not here."""
    return "triton" if importlib.util.find_spec("triton") is None else None


def _row(found: list[dict[str, Any]], network: str, where: torch.device) -> dict[str, Any]:
    return {
        "status": "ok",
        "reason": None,
        "network": network,
        "throughput": found,
        "left_out": [],
        "measured_by": "cuda_events" if where.type == "cuda" else "perf_counter",
    }


def _contender(name: str, one: Case, model: nn.Module, where: torch.device) -> Contender:
    step = _step(one, model, where)
    step.warm_up()

    def fresh() -> None:
        # The network is shared: each way sets its own dilation and frozen parts.
        apply_stage(model, stage_of(one))
        step.clip_BCTHW.uniform_()

    return Contender(name, "contiguous", {"step": step}, before=fresh)


def _step(one: Case, model: nn.Module, where: torch.device) -> TrainingStep:
    arguments = step_arguments(one)
    shape = arguments.pop("input_shape")
    arguments["savers"] = parse_savers(arguments["savers"])
    # Its state is kept for each way that is timed.
    return StepOptions(**arguments).build(model, shape, where)


def _errors(model: nn.Module, cases: list[Case], where: torch.device) -> dict[str, float]:
    """Type -> how far one clip's scores are off float64's, relative, by norms."""
    clip = torch.rand(1, *cases[0]["clip"], device=where)
    model.eval()
    found = {}
    with torch.no_grad():
        exact = _in_float64(model, cases[0], where).eval()(clip.double())
        for dtype in dict.fromkeys(one["dtype"] for one in cases):
            with torch.autocast(where.type, torch.bfloat16, enabled=dtype == "bfloat16"):
                given = model(clip).double()
            found[dtype] = float((given - exact).norm() / exact.norm())
    return found


def _error_in_training(form: nn.Module, model: nn.Module, one: Case, where: torch.device) -> float:
    """Of a whole batch's scores in training, which needs a network without dropout."""
    clip = _step(one, model, where).clip_BCTHW
    exact_model = _in_float64(model, one, where).train()
    given = form(clip).detach().double()
    with torch.no_grad():
        exact = exact_model(clip.double())
    return float((given - exact).norm() / exact.norm())


def _in_float64(model: nn.Module, one: Case, where: torch.device) -> nn.Module:
    exact = build_case(one).to(where).double()
    exact.load_state_dict(model.state_dict())
    return exact
