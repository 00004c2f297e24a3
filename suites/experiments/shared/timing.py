"""Times things in turn, round by round, so that what else the machine does falls on all of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from suites.engine.task import Run

# In calls of the reference: what takes longer is timed in two rounds alone.
_TOO_SLOW = 8


@dataclass
class Contender:
    """Something to time.

    Attributes:
        layout: "contiguous" or "channels_last_3d".
        calls: what is timed, by name.
        before: done before each call and not timed, such as drawing new inputs.
        seconds: by the call's name, one a round.
    """

    name: str
    layout: str
    calls: dict[str, Callable[[], None]]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    before: Callable[[], None] | None = None


def run_rounds(run: Run, contenders: Sequence[Contender]) -> int:
    """Times all until the seconds of the run's options are over, after a round to warm up.

    There are three rounds at least.

    The first contender sets the pace: one that takes 8 times as long is timed in two rounds.

    Returns:
        The number of rounds.

    Raises:
        Stopped: when asked to.
    """
    seconds = run.spec.options["seconds"]
    started, rounds = time.monotonic(), 0
    while rounds < 4 or time.monotonic() - started < seconds:
        if rounds == 1:
            # The first may have waited for compilers, or for cuDNN to try its algorithms.
            started = time.monotonic()
        for one in contenders:
            if _too_slow(one, contenders[0]):
                continue
            for kind, call in one.calls.items():
                run.stop_if_asked()
                if one.before is not None:
                    one.before()
                taken = timed(call, run.where)
                if rounds:
                    one.seconds.setdefault(kind, []).append(taken)
        rounds += 1
        run.progress(min((time.monotonic() - started) / max(seconds, 1e-3), 0.99))
    return rounds - 1


def _too_slow(one: Contender, first: Contender) -> bool:
    """Whether two rounds have told enough of it."""
    return any(
        len(times) >= 2 and min(times) > _TOO_SLOW * min(first.seconds[kind])
        for kind, times in one.seconds.items()
    )


def timed(call: Callable[[], None], device: torch.device) -> float:
    """Seconds of one call; on CUDA by events."""
    if device.type != "cuda":
        started = time.perf_counter()
        call()
        return time.perf_counter() - started
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize(device)
    return begin.elapsed_time(end) / 1e3


def timings(one: Contender, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Median seconds of each call, and its ratio to the reference, taken within a round.

    The reference is the first contender in the better of its layouts.
    """
    reference = [other for other in contenders if other.name == contenders[0].name]
    row: dict[str, Any] = {"name": one.name, "layout": one.layout}
    for kind, seconds in one.seconds.items():
        base = min((other.seconds[kind] for other in reference), key=median)
        ratios = [a / b for a, b in zip(seconds, base, strict=False)]
        row |= {
            f"{kind}_seconds": median(seconds),
            f"{kind}_ratio": median(ratios),
            f"{kind}_ratio_low": min(ratios),
            f"{kind}_ratio_high": max(ratios),
            f"{kind}_rounds": len(seconds),
        }
    return row


def number_type(name: str) -> torch.dtype:
    """The type "float32", "bfloat16" or "tf32"; where there is a GPU, its products follow suit.

    Torch's own default is TF32 in cuDNN and none in matrix products, which a comparison of the two
    must not hang on.
    """
    if torch.cuda.is_available():
        precision = "tf32" if name == "tf32" else "ieee"
        torch.backends.cuda.matmul.fp32_precision = precision
        torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
    dtype: torch.dtype = torch.float32 if name == "tf32" else getattr(torch, name)
    return dtype
