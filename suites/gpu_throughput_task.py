"""Clips a second of one network in training: full size, ITSL's stages, savers, compiled."""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from stdcf.memory.cap import is_out_of_memory
from stdcf.memory.savers import parse_savers
from stdcf.memory.step import StepOptions, TrainingStep
from stdcf.training.prepare import apply_stage
from suites.gpu_evidence_cases import Case
from suites.gpu_machine_task import spread
from suites.gpu_memory_task import build_case, stage_of, step_arguments
from suites.interleaved import Contender, run_rounds
from suites.store import RunFolder


def measure(
    folder: RunFolder,
    *,
    data_root: str | None,
    device: str,
    num_workers: int | None,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """The task "gpu_throughput": the spec's cases of one network in turn, round by round.

    Compiled, there is one case alone, beside the same one as it is.
    """
    spec = folder.spec()
    torch.set_num_threads(spec.threads)
    torch.manual_seed(spec.seed)
    where, cases = torch.device(device), spec.options["cases"]
    if spec.options.get("compile") and (why := compiler_missing()):
        return _row([], cases, f"torch.compile left out: no {why}")
    model = build_case(cases[0]).to(where)
    off = _error(model, cases[0], where)
    forms: list[tuple[str, Case, nn.Module]] = [(one["name"], one, model) for one in cases]
    if spec.options.get("compile"):
        compiled: Any = torch.compile(model)
        forms += [(f"{one['name']} compiled", one, compiled) for one in cases]
    contenders, left_out = [], []
    for name, one, form in forms:
        try:
            contenders.append(_contender(name, one, form, where))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            left_out.append(f"{name}: {str(error).splitlines()[0]:.80}")
    rounds = run_rounds(
        contenders,
        spec.options["seconds"],
        where,
        should_stop,
        lambda fraction: folder.write_state(status="running", fraction=fraction),
    )
    found = []
    for way in contenders:
        times = spread(way.seconds["step"])
        batch = cases[0]["batch"]
        row = {"name": way.name, "batch": batch, "clips_per_second": batch / times["seconds"]}
        found.append(row | times | {"rounds": len(way.seconds["step"])})
    row = _row(found, cases, f"{rounds} rounds of {len(contenders)} ways")
    row |= {"left_out": left_out, "error": off}
    wrong = not off < 0.02
    return row | (
        {"status": "error", "reason": f"the network's output is off by {off:.1e}"} if wrong else {}
    )


def compiler_missing() -> str | None:
    """What torch.compile needs on a GPU and is not here."""
    return "triton" if importlib.util.find_spec("triton") is None else None


def _row(found: list[dict[str, Any]], cases: list[Case], summary: str) -> dict[str, Any]:
    return {
        "status": "ok",
        "reason": None,
        "network": cases[0]["model"],
        "throughput": found,
        "left_out": [] if found else [summary],
        "summary": summary,
        "measured_by": "cuda_events" if torch.cuda.is_available() else "perf_counter",
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


def _error(model: nn.Module, one: Case, where: torch.device) -> float:
    """Of one clip's scores against the same network in float64, relative, by norms."""
    clip = torch.rand(1, *one["clip"], device=where)
    model.eval()
    with torch.no_grad():
        given = model(clip).double()
        exact = build_exact(model, one, where)(clip.double())
    return float((given - exact).norm() / exact.norm())


def build_exact(model: nn.Module, one: Case, where: torch.device) -> nn.Module:
    """The same network in float64, in evaluation."""
    exact = build_case(one).to(where).double()
    exact.load_state_dict(model.state_dict())
    return exact.eval()
