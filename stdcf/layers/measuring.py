"""Measures on this machine what plan="auto" may take for one call."""

import time
import warnings
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from stdcf.layers import plan_book
from stdcf.layers.auto import candidates, situation
from stdcf.layers.composed import Parameters
from stdcf.layers.plain import Options
from stdcf.layers.plans import run_plan

# Of output and gradients on a GPU, beside the composed plan's: some roundings of the type, TF32's
# for float32.
_OFF = {torch.float32: 1e-2, torch.float16: 1e-2, torch.bfloat16: 6e-2}


def tune(
    x_BCTHW: Tensor, parameters: Parameters, options: Options, repeats: int = 5
) -> dict[str, float]:
    """Measures every candidate's forward and backward and writes the result into the book.

    On a GPU a plan that fails, or gives another result than the composed one, is left out with a
    warning.

    Returns:
        Plan -> median seconds.
    """
    s = situation(x_BCTHW, parameters, options)
    like = x_BCTHW.dtype
    a, b, c = (p.detach().to(like, copy=True).requires_grad_() for p in parameters)
    x = x_BCTHW.detach().clone(memory_format=torch.preserve_format).requires_grad_()

    def step(plan: str) -> list[Tensor]:
        y = run_plan(plan, x, (a, b, c), options, None)
        return [y.detach(), *torch.autograd.grad(y, [x, a, b, c], y.detach())]

    plans = candidates(s)
    if s.on_gpu:
        plans = [plan for plan in plans if plan == "composed" or _agrees(plan, step)]
    seconds: dict[str, list[float]] = {plan: [] for plan in plans}
    for round_ in range(repeats + 1):
        for plan in plans:
            started = _now(x)
            step(plan)
            if round_:
                seconds[plan].append(_now(x) - started)
    found = {plan: median(times) for plan, times in seconds.items()}
    plan_book.add(s.key, found)
    return found


def _agrees(plan: str, step: Callable[[str], list[Tensor]]) -> bool:
    """Whether a plan runs on this GPU and gives what the composed one gives."""
    expected = step("composed")
    try:
        got = step(plan)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # Whatever a compiler or a driver makes of it: the other plan is there.
        reason = " ".join(str(error).split())[:200]
        warnings.warn(f"the plan {plan!r} fails here and is not taken: {reason}", stacklevel=3)
        return False
    for a, b in zip(got, expected, strict=True):
        off = float((a - b).norm() / b.norm().clamp(min=torch.finfo(b.dtype).tiny))
        if not off <= _OFF[b.dtype]:
            text = f"the plan {plan!r} is off by {off:.1e} here and is not taken"
            warnings.warn(text, stacklevel=3)
            return False
    return True


def _now(x: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()
