"""What a prediction or a measurement of memory says."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stdcf.errors import UserError
from stdcf.memory.savers.names import label
from stdcf.memory.timeline import Timeline
from stdcf.memory.tracking.moment import Moment

if TYPE_CHECKING:
    import pandas as pd

MIB = 2**20

MEASURED_BY = ("fake_tensors", "tracker_cpu", "cpu_allocator", "cuda_allocated")


# What a prediction may be too low by: of 207 steps measured on an H200, 200 allocated within it.
MARGIN = 0.05
# CUDA's context and its libraries' code: 767 to 815 MiB in 212 measurements on an H200 (torch
# 2.11); `measure_peak` gives another card's as `MemoryReport.context_bytes`.
CONTEXT_BYTES = 800 * MIB


class Fits(StrEnum):
    """Whether a step runs under a cap.

    YES: without giving cached memory back. FLUSHES: now and then it does, and waits for the GPU.
    TIGHT: only if the prediction is not too low by `MARGIN`. NO: not even so.
    """

    YES = "yes"
    FLUSHES = "with flushes"
    TIGHT = "tight"
    NO = "no"

    @property
    def safely(self) -> bool:
        """Whether it may be relied on."""
        return self in (Fits.YES, Fits.FLUSHES)


@dataclass(frozen=True)
class MemoryReport:
    """The peak memory of one training step.

    Attributes:
        peak_bytes: the most bytes alive at once.
        breakdown: name -> bytes alive at that moment; sums to `peak_bytes`.
        moment: when it was; None where the allocator does not tell.
        measured_by: "fake_tensors" is a prediction; "tracker_cpu" counted real tensors;
            "cpu_allocator" is the sum of the CPU allocator's own events, what operators allocate
            within themselves included; "cuda_allocated" is the CUDA allocator's own count, cuDNN's
            workspaces included.
        input_shape: of the clip that was trained on, [B, C, T, H, W], the stage's size applied.
        device: "cpu" or "cuda…": whose operators ran or were modelled.
        stage: the training stage's name, None for the model as built.
        reserved_bytes: what the CUDA allocator holds, its unused blocks included; in a prediction
            for CUDA by simulation.
        smallest_cap_bytes: the least limit of the CUDA allocator under which the step runs again
            and again; under pressure it gives back what it holds unused. By simulation.
        flushes: how often a step under that limit does so, waiting for the GPU.
        savers: names of the memory savers.
        allocated_bytes: the most in the CUDA allocator's blocks: multiples of 512 bytes, and what
            cuBLAS and cuDNN take (`stdcf.memory.cuda.cuda_libraries`), which `peak_bytes` leaves
            out; in a prediction for CUDA by simulation.
        context_bytes: what the GPU had in use beside the allocator's memory: CUDA's context, and
            other programs.
        host_bytes: kept on the host meanwhile; in no other number.
        macs: multiply-accumulates of the whole step, what is computed again included.
        lives: of every tensor; `timeline`, `save_timeline` and `save_snapshot` show them.
        moved_bytes: arguments and results of the operators that multiply nothing.
    """

    peak_bytes: int
    breakdown: Mapping[str, int]
    moment: Moment | None
    measured_by: str
    input_shape: tuple[int, ...]
    device: str
    stage: str | None = None
    reserved_bytes: int | None = None
    savers: tuple[str, ...] = ()
    allocated_bytes: int | None = None
    context_bytes: int | None = None
    host_bytes: int = 0
    macs: int | None = None
    moved_bytes: int | None = None
    smallest_cap_bytes: int | None = None
    flushes: int | None = None
    lives: Timeline | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Every number and name, without the tensors' lives."""
        content = asdict(replace(self, lives=None))
        del content["lives"]
        return content

    def timeline(self) -> "pd.DataFrame":
        """One row a tensor's storage; the columns are `Timeline.frame`'s.

        Raises:
            UserError: if an allocator measured the step, which tells no tensors.
        """
        return self.known_lives().frame()

    def save_timeline(self, path: Path | str, title: str = "") -> Path:
        """Writes a picture of the step, one HTML file that loads nothing; returns where.

        Args:
            title: what was trained; "" leaves it out.

        Raises:
            UserError: as `timeline` does, or if the file cannot be written.
        """
        from stdcf.memory.picture import write_picture

        return write_picture(self.known_lives(), Path(path), str(self), title)

    def save_snapshot(self, path: Path | str, alloc_conf: str = "") -> Path:
        """Writes a pickle for pytorch.org/memory_viz, as if a GPU had recorded two steps.

        It is what CUDA's allocator makes of the tensors, by simulation; frames name operators and
        modules.

        Args:
            alloc_conf: PYTORCH_CUDA_ALLOC_CONF that the allocator follows.

        Raises:
            UserError: as `timeline` does, or if the file cannot be written.
        """
        from stdcf.memory.snapshot import write_snapshot

        return write_snapshot(self.known_lives(), Path(path), alloc_conf)

    def known_lives(self) -> Timeline:
        """`lives`.

        Raises:
            UserError: if there are none.
        """
        if self.lives is None:
            raise UserError(
                f"a report by {self.measured_by} knows no tensors: predict_peak knows them, and "
                "measure_peak does on a CPU, and on a GPU with timeline=True"
            )
        return self.lives

    def fits(self, cap_bytes: int, context_bytes: int = CONTEXT_BYTES) -> Fits:
        """Whether the step fits into so much memory.

        Args:
            cap_bytes: of the card; on CPU of this process's tensors.
            context_bytes: what CUDA's context takes of the card; 0 where `cap_bytes` is the
                allocator's own limit. It counts on CUDA alone.
        """
        if self.smallest_cap_bytes is None:
            return fits(cap_bytes, self.peak_bytes, self.peak_bytes)
        left_bytes = cap_bytes - context_bytes
        return fits(left_bytes, self.smallest_cap_bytes, self.reserved_bytes or 0, MARGIN)

    def needs_bytes(self, context_bytes: int = CONTEXT_BYTES) -> int:
        """The least memory into which it fits safely: what `fits` compares with the cap."""
        if self.smallest_cap_bytes is None:
            return self.peak_bytes
        return math.ceil(self.smallest_cap_bytes * (1 + MARGIN)) + context_bytes

    @property
    def peak_mib(self) -> float:
        """The peak in MiB, for printing."""
        return self.peak_bytes / MIB

    @property
    def gap(self) -> str:
        """What `peak_bytes` leaves out; "" if nothing."""
        by_allocator = self.measured_by in ("cpu_allocator", "cuda_allocated")
        if by_allocator or "workspaces" in self.breakdown:
            return ""
        if self.device.startswith("cuda"):
            return "what cuBLAS and cuDNN take of the allocator, and the CUDA context"
        return "what operators allocate within themselves"

    @property
    def advice(self) -> str:
        """What would lower the peak most."""
        return _advice(self)

    def __str__(self) -> str:
        size = "×".join(map(str, self.input_shape))
        parts = [self.measured_by, self.device, f"clip {size}"]
        parts += [self.stage] if self.stage else []
        parts += ["+".join(map(label, self.savers))] if self.savers else []
        lines = [f"peak {self.peak_mib:,.1f} MiB ({', '.join(parts)})"]
        if self.moment is not None:
            lines.append(f"  at {self.moment}")
        width = max(map(len, self.breakdown), default=0)
        for name, n_bytes in sorted(self.breakdown.items(), key=lambda item: -item[1]):
            lines.append(f"  {name:<{width}} {n_bytes / MIB:10,.1f} MiB")
        beside = {
            "in the allocator's blocks": self.allocated_bytes,
            "smallest cap of the allocator": self.smallest_cap_bytes,
            "reserved by the allocator": self.reserved_bytes,
            "in use beside the allocator": self.context_bytes,
            "kept on the host": self.host_bytes or None,
        }
        for words, found in beside.items():
            if found is not None:
                lines.append(f"  {words}: {found / MIB:,.1f} MiB")
        lines += [f"  not in it: {self.gap}"] if self.gap else []
        lines += [f"  helps most: {self.advice}"] if self.advice else []
        return "\n".join(lines)


def fits(
    left_bytes: int, smallest_cap_bytes: float, reserved_bytes: float, margin: float = 0.0
) -> Fits:
    """The verdict on a step that needs `smallest_cap_bytes` and, unhindered, `reserved_bytes`."""
    if smallest_cap_bytes > left_bytes:
        return Fits.NO
    if smallest_cap_bytes * (1 + margin) > left_bytes:
        return Fits.TIGHT
    return Fits.FLUSHES if reserved_bytes * (1 + margin) > left_bytes else Fits.YES


# In the order in which they cost: what leaves the gradients alone first.
_AGAINST = {
    "activations": (
        ("recompute", "recompute (same gradients)"),
        ("checkpoint", "checkpoint (same gradients, one forward pass more)"),
        ("bf16", "bf16"),
        ("accumulate", "accumulate=2 or a smaller batch"),
        ("", "ITSL or a smaller clip"),
    ),
    "optimizer_state": (("", "sgd keeps half of Adam's state; no saver reaches it"),),
    "parameters": (("", "a smaller network; no saver reaches it"),),
    "gradients": (("", "a smaller network; no saver reaches it"),),
    "batch": (("", "a smaller batch or clip"),),
    "temporaries": (("accumulate", "accumulate=2 or a smaller batch"), ("bf16", "bf16")),
    "workspaces": (("", "a smaller batch or clip"),),
}


def _advice(report: MemoryReport) -> str:
    largest = max(report.breakdown, key=lambda name: report.breakdown[name], default="")
    used = {word.partition("=")[0] for word in report.savers}
    words = [text for saver, text in _AGAINST.get(largest, ()) if saver not in used]
    if not words or not report.peak_bytes:
        return ""
    share = 100 * report.breakdown[largest] / report.peak_bytes
    return f"{largest} are {share:.0f}% of the peak: {', '.join(words)}"
