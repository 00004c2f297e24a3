"""What `memory_caps` compares: networks with their clips, techniques, caps."""

from dataclasses import dataclass

from suites.ways import Schedule, schedules

CAPS_GIB = (0.5, 1, 2, 4, 6, 8, 12, 16)
GIB = 2**30
ITERATIONS = 3


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
