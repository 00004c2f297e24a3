"""What the machine is, and its copy bandwidth and matrix rates as measured."""

import platform
import subprocess
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from suites.engine.task import Run
from suites.experiments.shared.timing import number_type, timed

TYPES = ("float32", "tf32", "bfloat16")
# Of a product against float64, relative, by norms.
_BOUNDS = {"float32": 1e-5, "tf32": 2e-3, "bfloat16": 1e-2}
_ROUNDS, _WARM_UP = 25, 3


def measure(run: Run) -> dict[str, Any]:
    """The task "gpu_machine"; on a CPU smaller, and without TF32."""
    run.settle()
    where, on_gpu = run.where, run.on_gpu
    rates, wrong = {}, []
    for name in TYPES if on_gpu else ("float32", "bfloat16"):
        run.stop_if_asked()
        found = _matrix_rate(name, 8192 if on_gpu else 512, where)
        rates[name] = found
        if not found["error"] < _BOUNDS[name]:
            wrong.append(f"a {name} product is off by {found['error']:.1e}")
    copy = _copy_rate(2**30 if on_gpu else 2**26, where)
    return {
        "status": "error" if wrong else "ok",
        "reason": "; ".join(wrong) or None,
        "machine": _machine(where),
        "copy": copy,
        "matrix": rates,
        "measured_by": "cuda_events" if on_gpu else "perf_counter",
        "summary": f"copy {copy['bytes_per_second'] / 1e9:,.0f} GB/s, matrix "
        + ", ".join(f"{n} {r['flops_per_second'] / 1e12:,.2f} TFLOP/s" for n, r in rates.items()),
    }


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and range of times."""
    return {"seconds": median(seconds), "low": min(seconds), "high": max(seconds)}


def _times(call: Callable[[], object], fresh: Callable[[], object], where: torch.device) -> Any:
    seconds = []
    for number in range(_WARM_UP + _ROUNDS):
        fresh()
        taken = timed(lambda: (call(), None)[1], where)
        if number >= _WARM_UP:
            seconds.append(taken)
    return spread(seconds)


def _matrix_rate(name: str, size: int, where: torch.device) -> dict[str, float]:
    dtype = number_type(name)
    a, b = (torch.randn(size, size, device=where, dtype=dtype) for _ in range(2))
    error = _error(a, b)
    found: dict[str, float] = _times(lambda: a @ b, a.normal_, where)
    return {**found, "flops_per_second": 2 * size**3 / found["seconds"], "error": error}


def _error(a: Tensor, b: Tensor) -> float:
    rows = a[:64]
    exact = rows.double() @ b.double()
    # All of it, as it will be timed: another size may go by another kernel.
    return float(((a @ b)[:64].double() - exact).norm() / exact.norm())


def _copy_rate(n_bytes: int, where: torch.device) -> dict[str, float]:
    """Bytes read and written a second."""
    source, target = (torch.empty(n_bytes // 4, device=where) for _ in range(2))
    found: dict[str, float] = _times(lambda: target.copy_(source), source.normal_, where)
    return {**found, "bytes_per_second": 2 * n_bytes / found["seconds"]}


def _machine(where: torch.device) -> dict[str, Any]:
    facts: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    if where.type != "cuda":
        return facts
    properties = torch.cuda.get_device_properties(where)
    return facts | {
        "gpu": properties.name,
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": _driver(),
    }


def _driver() -> str | None:
    try:
        return subprocess.run(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None
