"""The memory of training steps: predicted for CUDA, measured on a GPU, held to caps there."""

import copy
import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

from stdcf.errors import UserError
from stdcf.memory import measure_peak, predict_peak
from stdcf.memory.cap import is_out_of_memory
from stdcf.memory.cuda.allocator_settings import AllocatorSettings
from stdcf.memory.cuda.smallest_cap import Requests, smallest_cap
from stdcf.memory.report import MARGIN, MemoryReport
from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.catalog import build_any
from suites.engine.task import Run
from suites.experiments.gpu_evidence.cases import Case
from suites.experiments.gpu_evidence.shipped import predicted_steps

# What of the card a batch that fills it may take by extrapolation, and where that is too much.
_FILL = (0.95, 0.85, 0.75)
_STAGES = {stage.name: stage for stage in (*itsl(1, epochs=1, lr=1e-3), *full_size(epochs=1, lr=1))}


def measure(run: Run) -> dict[str, Any]:
    """The task "gpu_memory": peaks of the spec's cases, and how many clips fill the GPU.

    Without a GPU the same steps are measured by their tensors, and fill nothing.
    """
    options, found = run.spec.options, []
    for one in _in_turn(run, options["cases"]):
        row = {"name": one["name"], **_outcome(partial(_measured, one, run.device))}
        if run.on_gpu and options.get("fit") and row["status"] == "ok":
            row |= _filled(one, row["peak_bytes"], _gpu(run))
        found.append(row)
    return _row(found, "cuda_allocated" if run.on_gpu else "tracker_cpu", "measured")


def predict(run: Run) -> dict[str, Any]:
    """The task "gpu_prediction": the same peaks without a GPU, or with what it shows of cuDNN."""
    run.settle()
    workspaces = bool(run.spec.options.get("workspaces"))
    if workspaces:
        _gpu(run)
    found = [
        {"name": one["name"], **_outcome(partial(_predicted, one, workspaces))}
        for one in _in_turn(run, run.spec.options["cases"])
    ]
    return _row(found, "fake_tensors", "predicted")


def hold(run: Run) -> dict[str, Any]:
    """The task "gpu_cap": one case under caps at the spec's factors of its prediction."""
    options = run.spec.options
    where, one = _gpu(run), options["case"]
    predicted = _predicted(one, False)
    found = []
    for factor in _in_turn(run, options["factors"]):
        cap_bytes = int(factor * predicted["reserved_bytes"])
        outcome = _under_cap(one, cap_bytes, where)
        found.append({"name": f"{factor:g}", "factor": factor, "cap_bytes": cap_bytes, **outcome})
    return _row(found, "cuda_allocated", "held") | {"case": one["name"], "predicted": predicted}


def hold_to_estimates(run: Run) -> dict[str, Any]:
    """The task "gpu_estimate": each case under its predicted smallest cap as the limit.

    Where memory runs out it is tried again with the margin that plans add; then all of it with
    expandable segments. Predictions are the shipped ones where there are some.
    """
    where, found = _gpu(run), []
    known = predicted_steps()
    for one in _in_turn(run, run.spec.options["cases"]):
        predicted = known.get(one["name"], {})
        if "smallest_cap_bytes" not in predicted:
            predicted = _predicted(one, False)
        for word in ("smallest", "expandable"):
            least = predicted[f"{word}_cap_bytes"]
            with _segments(expandable=word == "expandable"):
                for margin in (0.0, MARGIN):
                    cap_bytes = int((1 + margin) * least)
                    outcome = _under_cap(one, cap_bytes, where)
                    own = {"name": one["name"], "segments": word, "margin": margin}
                    found.append({**own, "cap_bytes": cap_bytes, **outcome})
                    if outcome["status"] != "oom":
                        break
    return _row(found, "cuda_allocated", "held")


@contextmanager
def _segments(expandable: bool) -> Iterator[None]:
    """The allocator with expandable segments or without, and as it was afterwards."""
    settings = getattr(torch.cuda.memory, "_set_allocator_settings", None)
    if not expandable or settings is None:
        yield
        return
    _release()
    settings("expandable_segments:True")
    try:
        yield
    finally:
        _release()
        settings("expandable_segments:False")


def _under_cap(one: Case, cap_bytes: int, where: torch.device) -> dict[str, Any]:
    """How a case ends under a limit of the allocator, and how often it gave back cached memory."""
    total_bytes = torch.cuda.get_device_properties(where).total_memory
    _release()
    before = torch.cuda.memory_stats(where).get("num_alloc_retries", 0)
    torch.cuda.set_per_process_memory_fraction(min(cap_bytes / total_bytes, 1.0), where)
    try:
        outcome = _outcome(partial(_measured, one, str(where)))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, where)
    flushes = torch.cuda.memory_stats(where).get("num_alloc_retries", 0) - before
    return {**outcome, "flushes": flushes}


def step_arguments(one: Case) -> dict[str, Any]:
    """A case's step, as `predict_peak` and `measure_peak` take it."""
    return {
        "input_shape": (one["batch"], *one["clip"]),
        "num_classes": one["classes"],
        "optimizer": one["optimizer"],
        "autocast": None if one["dtype"] == "float32" else one["dtype"],
        "memory_format": one.get("memory_format"),
        "stage": stage_of(one),
        "savers": tuple(filter(None, [one["savers"]])),
    }


def stage_of(one: Mapping[str, Any]) -> Stage:
    """The stage by its name: full size, or one of ITSL's with β=γ=2."""
    return _STAGES[one["stage"]]


def draw_case(one: Case) -> nn.Module:
    """The case's network, drawn anew."""
    return build_any(
        one["model"],
        num_classes=one["classes"],
        in_channels=one["clip"][0],
        layer=one["layer"] or None,
        layer_options=one["layer_options"],
        model_options=one["model_options"],
    )


def build_case(one: Case) -> nn.Module:
    """The case's network, on the CPU; it is drawn once for cases in turn that share it."""
    network = ("model", "classes", "clip", "layer", "layer_options", "model_options")
    return copy.deepcopy(_drawn(json.dumps({name: one[name] for name in network})))


@lru_cache(maxsize=1)
def _drawn(network: str) -> nn.Module:
    return draw_case(json.loads(network))


def _measured(one: Case, device: str, batch: int | None = None) -> dict[str, Any]:
    step = step_arguments(one if batch is None else {**one, "batch": batch})
    _release()
    report = measure_peak(partial(build_case, one), device=device, **step)
    return {
        "batch": step["input_shape"][0],
        "peak_bytes": report.peak_bytes,
        "reserved_bytes": report.reserved_bytes,
        "context_bytes": report.context_bytes,
        "breakdown": dict(report.breakdown),
    }


def _predicted(one: Case, workspaces: bool) -> dict[str, Any]:
    step = step_arguments(one)
    # Drawn anew: the constructor has to make fake parameters.
    model_fn = partial(draw_case, one)
    report = predict_peak(model_fn, device="cuda", workspaces=workspaces, **step)
    return {
        "batch": one["batch"],
        "peak_bytes": report.peak_bytes,
        "allocated_bytes": report.allocated_bytes,
        "reserved_bytes": report.reserved_bytes,
        "smallest_cap_bytes": report.smallest_cap_bytes,
        "flushes": report.flushes,
        "expandable_cap_bytes": _expandable_cap(report),
        "host_bytes": report.host_bytes,
        "breakdown": dict(report.breakdown),
    }


def _expandable_cap(report: MemoryReport) -> int | None:
    """The smallest cap with expandable segments, which ask for other blocks."""
    if report.lives is None:
        return None
    settings = AllocatorSettings(expandable_segments=True)
    return smallest_cap(Requests(report.lives.lives), settings).n_bytes


def _filled(one: Case, peak_bytes: int, where: torch.device) -> dict[str, Any]:
    """The largest batch that trained, by extrapolation from the batch and twice the batch."""
    batch = one["batch"]
    twice = _outcome(partial(_measured, one, str(where), 2 * batch))
    if twice["status"] != "ok":
        return {"most_clips": batch, "most_clips_peak_bytes": peak_bytes}
    clip_bytes = max((twice["peak_bytes"] - peak_bytes) / batch, 1.0)
    # What the steps before keep reserved is free too.
    _release()
    free_bytes, _ = torch.cuda.mem_get_info(where)
    for share in _FILL:
        clips = int((share * free_bytes - peak_bytes) / clip_bytes) + batch
        if clips <= 2 * batch:
            break
        outcome = _outcome(partial(_measured, one, str(where), clips))
        if outcome["status"] == "ok":
            return {"most_clips": clips, "most_clips_peak_bytes": outcome["peak_bytes"]}
    return {"most_clips": 2 * batch, "most_clips_peak_bytes": twice["peak_bytes"]}


def _outcome(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the work found, or that memory ran out, or why the case cannot be.

    Raises:
        RuntimeError: if the GPU is lost to this process.
    """
    try:
        return {"status": "ok", **work()}
    except UserError as error:
        return {"status": "skipped", "reason": str(error)}
    except (MemoryError, RuntimeError) as error:
        status = "oom" if is_out_of_memory(error) else "error"
        reason = str(error).splitlines()[0][:300]
    # Here the error is gone, and with it the tensors of the frames that it went through.
    _release()
    return {"status": status, "reason": reason}


def _release() -> None:
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        # They would count for the first step of a process alone.
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()


def _gpu(run: Run) -> torch.device:
    if not run.on_gpu or not torch.cuda.is_available():
        raise UserError("this needs a GPU; the suite leaves it out without one")
    return run.where


def _in_turn(run: Run, items: Sequence[Any]) -> Iterator[Any]:
    """The items, with a stop or a word on how far it is before each."""
    for number, item in enumerate(items):
        run.stop_if_asked()
        run.progress(number / len(items))
        yield item


def _row(found: list[dict[str, Any]], measured_by: str, word: str) -> dict[str, Any]:
    peaks = [one["peak_bytes"] for one in found if one["status"] == "ok"]
    failed = [f"{one['name']}: {one['reason']}" for one in found if one["status"] == "error"]
    return {
        "status": "ok" if peaks or not failed else "error",
        "reason": None if peaks or not failed else failed[0],
        "failed": failed,
        # Plain JSON, whatever a report holds.
        "cases": json.loads(json.dumps(found)),
        "measured_by": measured_by,
        "summary": f"{len(peaks)} of {len(found)} steps {word}",
    }
