"""Which plan ``plan="auto"`` takes: an estimate of time and memory, or what was measured.

The estimate counts multiply-accumulates and divides them by rates; only their ratios matter. What
`measuring.tune` measured on this machine stands above it: it is kept in a file (`plan_book`), which
can be copied to other machines of the same kind. The same file and the same code make the same
choice.
"""

import functools
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stdcf.layers import plan_book
from stdcf.layers.composed import Parameters
from stdcf.layers.geometry import output_size
from stdcf.layers.layout import is_channels_last
from stdcf.layers.padding import Triple
from stdcf.layers.plain import PLANS, Options
from stdcf.layers.plans import (
    compute_dtype,
    device_kind,
    fused_runs,
    modelled_device,
)

# Multiply-accumulates a second of one core, float32; measured on an AMD EPYC (Zen 4), 2026-11-24.
_DENSE, _PRODUCT, _ATOMS, _DEPTHWISE = 61e9, 46e9, 25e9, 2e9
# Bytes a second of copies that the cache does not hold.
_COPY = 8e9
# The one plan that auto takes where the CPU's kernel does not run.
_ELSEWHERE = "composed"
# What one call costs beyond its work, in seconds.
_CALL, _TILE = 20e-6, 15e-6


@dataclass(frozen=True)
class Situation:
    """All that a choice depends on.

    Attributes:
        device: "cpu" or "cuda", and the processor's name.
        fused: whether a fused kernel runs, the CPU's or a GPU's.
        channels_last: how the input lies in memory; else contiguous.
        input_shape: [B, C_in, T, H, W].
    """

    device: str
    fused: bool
    channels_last: bool
    dtype: str
    threads: int
    input_shape: tuple[int, ...]
    out_channels: int
    kernel_size: Triple
    stride: Triple
    padding: Triple
    dilation: Triple
    groups: int
    num_spatial_atoms: int
    num_temporal_atoms: int

    @property
    def positions(self) -> int:
        """Output positions of all clips."""
        axes = (self.kernel_size, self.stride, self.padding, self.dilation)
        sizes = output_size(self.input_shape[2:], *axes)
        return self.input_shape[0] * math.prod(max(size, 0) for size in sizes)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.startswith("cuda")

    @property
    def key(self) -> str:
        """Names the situation in a book."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Estimate:
    """Of one plan: forward and backward, and what is in memory beyond input, output and gradients.

    Attributes:
        seconds: estimated, of one core at 3.9 GHz; good for comparing plans.
        temporary_bytes: of the larger of both passes.
    """

    seconds: float
    temporary_bytes: int


@dataclass(frozen=True)
class Choice:
    """What auto takes and why.

    Attributes:
        source: "measured", "estimated", or "the only one within the limit".
        measured_seconds: plan -> seconds of forward and backward; empty if it was not measured.
    """

    plan: str
    source: str
    estimates: Mapping[str, Estimate]
    measured_seconds: Mapping[str, float]


def situation(x_BCTHW: Tensor, parameters: Parameters, options: Options) -> Situation:
    """The situation of a call."""
    coefficients, spatial, temporal = parameters
    kind = device_kind(x_BCTHW)
    return Situation(
        device=_device_name(kind),
        fused=fused_runs(x_BCTHW, parameters, options),
        channels_last=is_channels_last(x_BCTHW),
        dtype=str(compute_dtype(x_BCTHW)).removeprefix("torch."),
        threads=torch.get_num_threads() if kind == "cpu" else 1,
        input_shape=tuple(x_BCTHW.shape),
        out_channels=coefficients.shape[0],
        kernel_size=(temporal.shape[1], spatial.shape[1], spatial.shape[2]),
        stride=options.stride,
        padding=options.padding,
        dilation=options.dilation,
        groups=options.groups,
        num_spatial_atoms=len(spatial),
        num_temporal_atoms=len(temporal),
    )


@functools.cache
def _device_name(kind: str) -> str:
    if kind == "cuda" and torch.cuda.is_available():
        return f"cuda {torch.cuda.get_device_name()}"
    if kind != "cpu":
        return kind
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model n"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"cpu {name}"


@functools.lru_cache(maxsize=4096)
def estimate(s: Situation, plan: str) -> Estimate:
    """Time and temporaries of one plan, by counting."""
    (k_t, k_h, k_w), m, n = s.kernel_size, s.num_spatial_atoms, s.num_temporal_atoms
    k_s, clips = k_h * k_w, max(s.input_shape[0], 1)
    channels, group_channels = s.input_shape[1], s.input_shape[1] // s.groups
    filters = group_channels * s.out_channels
    size = torch.empty(0, dtype=getattr(torch, s.dtype)).element_size()
    speed = {2: 2.0, 4: 1.0, 8: 0.5}.get(size, 1.0)
    taps = {
        "composed": k_t * k_s,
        "spatial_first": m * k_t,
        "temporal_first": n * k_s,
        "factored": m * n,
    }[plan]
    dense = 3 * s.positions * filters * taps
    if plan == "factored" and s.fused and s.on_gpu:
        # Z_i of each frame, then Y_ij; forward, for both gradients of the parameters, and dψ.
        atoms: float = 5 * s.positions * channels * m * k_t * (k_s + n)
        seconds = dense / (_PRODUCT * speed) + atoms / _ATOMS + 2 * _CALL
        return Estimate(seconds, _gpu_bytes(s))
    if plan == "factored" and s.fused:
        # Vectors of 16 channels; forward, once more for backward, and the adjoint.
        padded = s.groups * (-(-group_channels // 16) * 16)
        atoms = 5.0 * s.positions * padded * n * (k_t + m * k_s)
        tiles = s.positions * m * n * group_channels * size / 2**20 + 1
        # Of few channels the vectors are short, and the matrix product is narrow.
        atoms *= 1.0 if group_channels >= 64 else 2.5
        seconds = dense / (_PRODUCT * speed) + atoms / _ATOMS + 3 * tiles * s.groups * _TILE
        seconds += 4 * filters * taps * size / _COPY + 2 * _CALL
        return Estimate(seconds, _fused_bytes(s))
    seconds = dense / (_DENSE * speed) + 6 * filters * taps * size / _COPY + 2 * _CALL
    seconds += 2 * filters * m * n * k_t * k_s / _PRODUCT if plan == "composed" else 0
    maps = {"composed": 0, "spatial_first": m, "temporal_first": n, "factored": m * n}[plan]
    depthwise = {
        "composed": 0,
        "spatial_first": m * k_s,
        "temporal_first": n * k_t,
        "factored": m * (k_s + n * k_t),
    }[plan]
    seconds += 4 * s.positions * channels * depthwise / _DEPTHWISE
    # The filter and its gradient, and what adds a clip's to it, or lays the filter out anew.
    temporary = 3 * filters * taps * size
    if plan == "composed":
        # Two at a time, and then the coefficients' gradient is not there yet.
        temporary = filters * (2 * taps - m * n) * size
    else:
        # The maps of one clip, their gradients and the clip's.
        temporary += 2 * s.positions // clips * channels * maps * size
        temporary += math.prod(s.input_shape[1:]) * size
    return Estimate(seconds, temporary)


def _fused_bytes(s: Situation) -> int:
    """Of the CPU's kernel's backward pass, which is larger than forward."""
    from stdcf.layers.cpu.call import scratch_bytes

    return scratch_bytes(*_shapes(s))


def _gpu_bytes(s: Situation) -> int:
    """The same of the GPU's."""
    from stdcf.layers.cuda.launch import scratch_bytes

    return scratch_bytes(*_shapes(s))


def _shapes(
    s: Situation,
) -> tuple[Tensor, tuple[int, int], Triple, tuple[int, int], tuple[Any, ...]]:
    """An input on "meta", C_out and C_in/groups, ψ's and φ's shapes, and the options."""
    layout = torch.channels_last_3d if s.channels_last else torch.contiguous_format
    dtype = getattr(torch, s.dtype)
    return (
        torch.empty(s.input_shape, dtype=dtype, device="meta", memory_format=layout),
        (s.out_channels, s.input_shape[1] // s.groups),
        (s.num_spatial_atoms, *s.kernel_size[1:]),
        (s.num_temporal_atoms, s.kernel_size[0]),
        (s.stride, s.padding, s.dilation, s.groups),
    )


def plan_of(
    x_BCTHW: Tensor, parameters: Parameters, options: Options, limit_bytes: int | None
) -> str:
    """The plan that `choose` takes for a call; when compiled, for a clip of 16×56×56."""
    if torch.compiler.is_compiling():
        # A compiled graph may serve many sizes, and a compiler cannot follow what is below.
        dtype = compute_dtype(x_BCTHW)
        shapes = tuple(tuple(p.shape) for p in parameters)
        rest = (options.stride, options.padding, options.dilation, options.groups)
        return _compiled_plan(device_kind(x_BCTHW), dtype, shapes, *rest, limit_bytes)
    if torch.jit.is_tracing():
        # Sizes are not numbers there, and of plans without a kernel this is the one to take.
        return _ELSEWHERE
    kind = device_kind(x_BCTHW)
    if kind != "cpu" and not (kind == "cuda" and plan_book.has(f'"device":"{_device_name(kind)}"')):
        # No choice; looking for one takes as long as launching the convolution.
        return _ELSEWHERE
    return choose(situation(x_BCTHW, parameters, options), limit_bytes).plan


@torch.compiler.assume_constant_result
def _compiled_plan(
    kind: str,
    dtype: torch.dtype,
    shapes: tuple[tuple[int, ...], ...],
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    groups: int,
    limit_bytes: int | None,
) -> str:
    c, s, t = (torch.empty(shape, device="meta") for shape in shapes)
    options = Options(stride, padding, dilation, groups)
    clip = torch.empty(1, c.shape[1] * groups, 16, 56, 56, dtype=dtype, device="meta")
    with modelled_device(kind):
        found = situation(clip, (c, s, t), options)
        if found.on_gpu:
            return _measured_everywhere(found)
        return choose(found, limit_bytes).plan


def _measured_everywhere(s: Situation) -> str:
    """A GPU's plan where the size of the clips is open: the kernel, if it was the faster one in

    every size and layout that was measured of such a layer.
    """
    path = plan_book.book_file()
    own = json.loads(s.key)
    times = []
    for key, entry in plan_book.read(path, plan_book.changed_ns(path)).items():
        other = json.loads(key)
        if all(other.get(k) == own[k] for k in own.keys() - {"input_shape", "channels_last"}):
            times.append(entry["seconds"])
    faster = [t["factored"] < t[_ELSEWHERE] for t in times if {"factored", _ELSEWHERE} <= t.keys()]
    return "factored" if faster and all(faster) and s.fused else _ELSEWHERE


def choose(s: Situation, limit_bytes: int | None = None) -> Choice:
    """The fastest plan whose temporaries fit, as measured where it was, else as estimated.

    Args:
        limit_bytes: of temporaries; where no plan fits, the leanest is taken.

    Raises:
        UserError: if the book cannot be read.
    """
    path = plan_book.book_file()
    return _choose(s, limit_bytes, path, plan_book.changed_ns(path))


@functools.lru_cache(maxsize=4096)
def _choose(s: Situation, limit_bytes: int | None, book: Path, changed_ns: int | None) -> Choice:
    estimates = {plan: estimate(s, plan) for plan in candidates(s)}
    fitting = [
        plan
        for plan, e in estimates.items()
        if limit_bytes is None or e.temporary_bytes <= limit_bytes
    ]
    entries = plan_book.read(book, changed_ns)
    measured = {p: t for p, t in entries.get(s.key, {}).get("seconds", {}).items() if p in PLANS}
    if not fitting:
        leanest = min(estimates, key=lambda plan: estimates[plan].temporary_bytes)
        return Choice(leanest, "leanest, none within the limit", estimates, measured)
    known = [plan for plan in fitting if plan in measured]
    if known:
        return Choice(min(known, key=measured.__getitem__), "measured", estimates, measured)
    best = min(fitting, key=lambda plan: estimates[plan].seconds)
    if s.on_gpu and _ELSEWHERE in fitting:
        # The kernel for GPUs is taken where it was measured to be faster, and nowhere else.
        best = _ELSEWHERE
    return Choice(best, "estimated", estimates, measured)


def candidates(s: Situation) -> list[str]:
    """Plans that may be chosen: those whose step takes no more memory than the dense layer's.

    Where no kernel runs it is the composed plan: on an H200 it was the fastest of those without one
    in all 42 measured cases (docs/gpu.md), the others' maps being made by slow depthwise
    convolutions.
    """
    reach = s.dilation[0] * (s.kernel_size[0] - 1)
    if s.fused and not s.on_gpu and s.dtype == "bfloat16" and s.input_shape[2] <= reach:
        # There torch's own filter gradient reads memory that nobody wrote (oneDNN, torch 2.15).
        return ["factored"]
    if s.fused:
        return ["composed", "factored"]
    return [_ELSEWHERE]


def explain(s: Situation, choice: Choice) -> str:
    """The choice as a table."""
    shape: Sequence[object] = s.input_shape
    layout = ", channels last" if s.channels_last else ""
    lines = [
        f"{choice.plan} ({choice.source}) for {'×'.join(map(str, shape))}{layout}, {s.dtype}, "
        f"{s.device}",
        f"{'plan':<16}{'estimated ms':>14}{'measured ms':>14}{'temporaries MiB':>18}",
    ]
    for plan in PLANS:
        e = choice.estimates.get(plan) or estimate(s, plan)
        seconds = choice.measured_seconds.get(plan)
        taken = "" if plan in choice.estimates else "  (auto does not take it)"
        lines.append(
            f"{plan:<16}{1e3 * e.seconds:>14.2f}"
            f"{'–' if seconds is None else format(1e3 * seconds, '.2f'):>14}"
            f"{e.temporary_bytes / 2**20:>18.2f}{taken}"
        )
    return "\n".join(lines)
