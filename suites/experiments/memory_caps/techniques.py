"""What `memory_caps` compares: networks with their clips, techniques, caps."""

from collections.abc import Sequence
from dataclasses import dataclass

from suites.engine.suite import Row
from suites.planning.ways import Schedule, schedules
from suites.reporting.figures import style

CAPS_GIB = (0.5, 1, 2, 4, 6, 8, 12, 16)
GIB = 2**30
ITERATIONS = 3
# Technique -> savers, of the runs that train.
TRAINED: dict[str, tuple[str, ...]] = {
    "full": (),
    "recompute": ("recompute",),
    "checkpoint": ("checkpoint",),
    "bf16": ("bf16",),
    "int8": ("int8",),
    "offload": ("offload",),
    "accumulate": ("accumulate=2",),
    "itsl": (),
    "itsl+bf16+checkpoint": ("bf16", "checkpoint"),
}
# Profile -> the most clips of a step; beyond it memory is not what decides.
LARGEST_BATCH = {"quick": 8, "paper": 16}
# What the techniques are given: as many epochs a stage as ITSL, or as much computation.
BUDGETS = {"epochs": "equal epochs", "computation": "ITSL's computation"}


@dataclass(frozen=True)
class Network:
    """A network as the suite plans for it.

    Attributes:
        clip: [C, T, H, W] of the plan.
        batch: clips a step of the plan.
        measured: [B, C, T, H, W] that is trained here, small enough for a CPU.
    """

    clip: tuple[int, int, int, int]
    batch: int
    classes: int
    optimizer: str
    measured: tuple[int, int, int, int, int]


NETWORKS = {
    # §3.1: 16×60×80 gray clips, batch 16.
    "kth_cnn": Network(
        (1, 16, 60, 80),
        16,
        6,
        "adam",
        (4, 1, 16, 60, 80),
    ),
    # §3.2: 8×224² clips, 8 a GPU.
    "resnet3d_50": Network(
        (3, 8, 224, 224),
        8,
        400,
        "sgd",
        (1, 3, 8, 112, 112),
    ),
    "slowfast_r50_8x8": Network((3, 32, 224, 224), 8, 400, "sgd", (1, 3, 32, 112, 112)),
}


@dataclass(frozen=True)
class Technique:
    """A schedule and savers, under one name."""

    name: str
    schedule: str
    savers: tuple[str, ...] = ()


FULL, ITSL = "full", "itsl"
TECHNIQUES = (
    Technique("full size", FULL),
    Technique("recompute", FULL, ("recompute",)),
    Technique("checkpoint", FULL, ("checkpoint",)),
    Technique("bf16", FULL, ("bf16",)),
    Technique("accumulate=4", FULL, ("accumulate=4",)),
    Technique("int8", FULL, ("int8",)),
    Technique("offload", FULL, ("offload",)),
    Technique("bf16+recompute", FULL, ("bf16", "recompute")),
    Technique("bf16+checkpoint", FULL, ("bf16", "checkpoint")),
    Technique("ITSL", ITSL),
    Technique("ITSL+recompute", ITSL, ("recompute",)),
    Technique("ITSL+bf16", ITSL, ("bf16",)),
    Technique("ITSL+bf16+checkpoint", ITSL, ("bf16", "checkpoint")),
)


def schedule_of(technique: Technique) -> Schedule:
    """Full size, or ITSL with β=γ=2 and E=3."""
    full, itsl = schedules(ITERATIONS, [(2, 2)])
    return full if technique.schedule == FULL else itsl


def split_mode(mode: str) -> tuple[str, str]:
    """Technique and budget of a trained run's mode."""
    technique, _, budget = mode.rpartition("-")
    return technique, budget


def in_suite_order(rows: Sequence[Row]) -> list[Row]:
    """By layer as everywhere, then as the suite lists networks, techniques and budgets."""
    layers = style.in_order([row["layer"] for row in rows])
    networks, techniques, budgets = [*NETWORKS], [*TRAINED], [*BUDGETS]

    def place(row: Row) -> tuple[int, ...]:
        technique, budget = split_mode(row["mode"])
        trained = technique in techniques and budget in budgets
        return (
            networks.index(row["model"]) if row["model"] in networks else len(networks),
            layers.index(row["layer"]),
            techniques.index(technique) if trained else -1,
            budgets.index(budget) if trained else -1,
            row["seed"],
        )

    return sorted(rows, key=place)
