"""Ways of training under a memory cap: schedules, savers, and which are preferred."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stdcf.memory.report import MARGIN, Fits, fits
from stdcf.memory.savers.names import read_words
from stdcf.stages.stage import Stage, full_size, itsl

# In the order in which they are preferred at equal computation.
BASES: tuple[tuple[str, ...], ...] = (
    (),
    ("recompute",),
    ("bf16",),
    ("bf16", "recompute"),
    ("checkpoint",),
    ("bf16", "checkpoint"),
    ("int8",),
    ("offload",),
    ("bf16", "offload"),
)
# What a saver's step takes beyond multiplications, as a share of a plain step: chosen for the
# ranking, after docs/memory.md's measurements on CPU. What offload takes depends on the bus.
BESIDE = {"recompute": 0.1, "int8": 0.3, "offload": 0.6}
ACCUMULATED: tuple[tuple[str, ...], ...] = (
    (),
    ("bf16",),
    ("bf16", "recompute"),
    ("checkpoint",),
    ("bf16", "checkpoint"),
)
MICRO_BATCHES = (2, 4, 8)
# How long and how fast is learnt matters to no step.
FULL_SIZE = full_size(epochs=1, lr=1e-3)


@dataclass(frozen=True)
class Schedule:
    """Full-size learning, or ITSL with β and γ.

    Attributes:
        stages: one for each size of clip.
    """

    name: str
    stages: tuple[Stage, ...]
    iterations: int = 1
    beta: int = 1
    gamma: int = 1

    @property
    def step_cost(self) -> float:
        """Mean computation of a step against a full-size one."""
        return sum(stage.relative_cost() for stage in self.stages) / len(self.stages)

    @property
    def training_cost(self) -> float:
        """Computation of the whole training against full size for one stage's epochs."""
        return self.iterations * sum(stage.relative_cost() for stage in self.stages)


def schedules(iterations: int, sizes: Sequence[tuple[int, int]]) -> list[Schedule]:
    """Full size, and ITSL for each (β, γ)."""
    found = [Schedule("full", FULL_SIZE)]
    for beta, gamma in sizes:
        stages = itsl(1, epochs=1, lr=1e-3, beta=beta, gamma=gamma)
        found.append(Schedule(f"itsl {beta},{gamma}", stages, iterations, beta, gamma))
    return found


@dataclass(frozen=True)
class Way:
    """One way of training, and what it takes.

    Attributes:
        peak_bytes: of tensors; of ITSL the larger stage's.
        allocated_bytes, smallest_cap_bytes, reserved_bytes: of the CUDA allocator, as
            `MemoryReport` has them; None where a CPU's tensors are asked for.
        needs_bytes: what must be under the cap: on CUDA the smallest cap with `MARGIN`, and the
            context; else the peak.
        context_bytes: that of CUDA.
        host_bytes: kept on the host meanwhile.
        step_cost: computation of a step against the plain full-size one's.
        training_cost: of the whole training, at equal epochs a stage.
        room: how many clips a step would fit, interpolated; a fraction if not one does.
        fixed_bytes: of what is needed, that which no clip changes, interpolated.
        confirmed: predicted exactly, not interpolated.
    """

    schedule: Schedule
    savers: tuple[str, ...]
    batch: int
    peak_bytes: int
    allocated_bytes: int | None
    smallest_cap_bytes: int | None
    reserved_bytes: int | None
    needs_bytes: int
    context_bytes: int
    host_bytes: int
    step_cost: float
    training_cost: float
    room: float
    fixed_bytes: int
    confirmed: bool = False

    @property
    def largest_batch(self) -> int:
        """Of those that fit; 0 if none does."""
        return int(self.room)

    @property
    def micro_batches(self) -> int:
        """1 unless gradients are accumulated."""
        return parse_micro_batches(self.savers)

    def verdict(self, cap_bytes: int) -> Fits:
        """As `MemoryReport.fits` has it."""
        if self.smallest_cap_bytes is None:
            return fits(cap_bytes, self.peak_bytes, self.peak_bytes)
        left_bytes = cap_bytes - self.context_bytes
        return fits(left_bytes, self.smallest_cap_bytes, self.reserved_bytes or 0, MARGIN)

    def fits(self, cap_bytes: int) -> bool:
        """Whether it may be relied on to run within the cap."""
        return self.verdict(cap_bytes).safely


def selection(ways: Sequence[Way], best: int = 8, of_each: int = 3) -> list[Way]:
    """The best ways, and the best few of each schedule."""
    picked = list(ways[:best])
    for name in dict.fromkeys(way.schedule.name for way in ways):
        picked += [way for way in ways if way.schedule.name == name][:of_each]
    return [way for way in ways if way in picked]


def parse_micro_batches(savers: Sequence[str]) -> int:
    """N of "accumulate=N"; 1 without it."""
    return int(read_words(tuple(savers)).get("accumulate") or 1)


def preference(way: Way, cap_bytes: int) -> tuple[Any, ...]:
    """Sorts ways: those that fit, then the least computation, then as in `BASES`."""
    plain = tuple(word for word in way.savers if not word.startswith("accumulate"))
    fits = way.fits(cap_bytes)
    beside = way.schedule.training_cost * sum(BESIDE.get(word, 0) for word in plain)
    return (
        not fits,
        round(way.training_cost + beside, 2) if fits else way.needs_bytes,
        len(way.savers) - len(plain),
        BASES.index(plain),
        way.needs_bytes,
    )
