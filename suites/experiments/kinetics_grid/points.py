"""What the ablation on Kinetics-400 varies: layer, atoms, schedule, dilation and memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from stdcf.stages.stage import Stage
from suites.experiments.kinetics_table3.suite import schedules

GIB = 2**30

# Layer and (M, N) of its atoms; (6, 2) is the paper's, (9, 3) composes every 3×3×3 filter.
NETWORKS: tuple[tuple[str, tuple[int, int] | None], ...] = (
    ("stdcf", (6, 2)),
    ("regular", None),
    ("rank1", None),
    ("stdcf", (3, 2)),
    ("stdcf", (9, 3)),
)
ITERATIONS = (3, 2, 1)
# β and γ: how much smaller stage-t's frames and how much fewer stage-s's are.
REDUCTIONS = ((2, 2), (4, 2), (2, 4))
# With 64 clips on one device ITSL fits into 24 GiB and full size does not.
CAPS_GIB = (None, 24)


@dataclass(frozen=True)
class Point:
    """One cell of the grid, of any number of seeds.

    Attributes:
        atoms: (M, N) where the layer has atoms.
        iterations: of ITSL; None is full-size learning.
        beta, gamma: see `stdcf.stages.stage.itsl`.
        dilated: each stage dilates the axis that is not reduced, and the test both (§2.3).
        cap_gib: limit on a training step's peak memory.
    """

    layer: str
    atoms: tuple[int, int] | None
    iterations: int | None = None
    beta: int = 1
    gamma: int = 1
    dilated: bool = True
    cap_gib: float | None = None

    @property
    def layer_options(self) -> dict[str, int]:
        """M and N."""
        if self.atoms is None:
            return {}
        return {"num_spatial_atoms": self.atoms[0], "num_temporal_atoms": self.atoms[1]}

    @property
    def learning(self) -> str:
        """As full, or itsl_e3_b2_g2_plain where nothing is dilated."""
        if self.iterations is None:
            return "full"
        plain = "" if self.dilated else "_plain"
        return f"itsl_e{self.iterations}_b{self.beta}_g{self.gamma}{plain}"

    @property
    def mode(self) -> str:
        """Unique in the grid with the layer."""
        atoms = "" if self.atoms is None else f"m{self.atoms[0]}n{self.atoms[1]}_"
        cap = "" if self.cap_gib is None else f"_cap{self.cap_gib:g}GiB"
        return f"{atoms}{self.learning}{cap}"

    @property
    def cap_bytes(self) -> int | None:
        """The cap in bytes."""
        return None if self.cap_gib is None else round(self.cap_gib * GIB)

    @property
    def departures(self) -> int:
        """How many axes differ from the paper's rows: layer, reduction, dilation, memory."""
        is_papers = (
            (self.layer, self.atoms) == NETWORKS[0],
            self.iterations is None or (self.beta, self.gamma) == REDUCTIONS[0],
            self.dilated,
            self.cap_gib is None,
        )
        return is_papers.count(False)

    def stages(self, epochs: int, later_epochs: int) -> tuple[Stage, ...]:
        """Table 3's schedule with this reduction and number of iterations."""
        if self.iterations is None:
            return schedules(epochs, later_epochs)["full"]
        stages = schedules(
            epochs, later_epochs, iterations=self.iterations, beta=self.beta, gamma=self.gamma
        )["itsl"]
        if self.dilated:
            return stages
        return tuple(stage.changed(dilation=(1, 1), test_dilation=(1, 1)) for stage in stages)


def points() -> Iterator[Point]:
    """Every cell: without a cap first, the paper's network first."""
    for cap_gib, (layer, atoms) in product(CAPS_GIB, NETWORKS):
        yield Point(layer, atoms, cap_gib=cap_gib)
        for iterations, (beta, gamma), dilated in product(ITERATIONS, REDUCTIONS, (True, False)):
            yield Point(layer, atoms, iterations, beta, gamma, dilated, cap_gib)


def points_by_mode() -> dict[tuple[str, str], Point]:
    """Layer and mode of a run -> its cell."""
    return {(point.layer, point.mode): point for point in points()}
