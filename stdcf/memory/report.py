"""What a prediction or a measurement of memory says."""

from collections.abc import Mapping
from dataclasses import dataclass

MIB = 2**20

MEASURED_BY = ("fake_tensors", "tracker_cpu", "cuda_allocated")


@dataclass(frozen=True)
class Moment:
    """Where in a training step something happened.

    Attributes:
        phase: "forward", "backward" or "optimizer".
        operator: the operator that had just run, such as "aten.convolution".
        module: the innermost module's name in the model, "" outside of any module.
    """

    phase: str
    operator: str
    module: str

    def __str__(self) -> str:
        where = f" in {self.module}" if self.module else ""
        return f"{self.phase}, {self.operator}{where}"


@dataclass(frozen=True)
class MemoryReport:
    """The peak memory of one training step.

    Attributes:
        peak_bytes: the most bytes alive at once.
        breakdown: name -> bytes alive at that moment; sums to `peak_bytes`.
        moment: when it was; None where the allocator does not tell.
        measured_by: "fake_tensors" is a prediction; "tracker_cpu" counted real tensors;
            "cuda_allocated" is the CUDA allocator's own count, cuDNN's workspaces included.
        input_shape: of the clip that was trained on, [B, C, T, H, W], the stage's size applied.
        device: "cpu" or "cuda…": whose operators ran or were modelled.
        stage: the training stage's name, None for the model as built.
        reserved_bytes: what the CUDA allocator held, its unused blocks included; else None.
    """

    peak_bytes: int
    breakdown: Mapping[str, int]
    moment: Moment | None
    measured_by: str
    input_shape: tuple[int, ...]
    device: str
    stage: str | None = None
    reserved_bytes: int | None = None

    @property
    def peak_mib(self) -> float:
        """The peak in MiB, for printing."""
        return self.peak_bytes / MIB

    def __str__(self) -> str:
        size = "×".join(map(str, self.input_shape))
        stage = f", {self.stage}" if self.stage else ""
        lines = [
            f"peak {self.peak_mib:,.1f} MiB ({self.measured_by}, {self.device}, clip {size}{stage})"
        ]
        if self.moment is not None:
            lines.append(f"  at {self.moment}")
        width = max(map(len, self.breakdown), default=0)
        for name, n_bytes in sorted(self.breakdown.items(), key=lambda item: -item[1]):
            lines.append(f"  {name:<{width}} {n_bytes / MIB:10,.1f} MiB")
        if self.reserved_bytes is not None:
            lines.append(f"  reserved by the allocator: {self.reserved_bytes / MIB:,.1f} MiB")
        return "\n".join(lines)
