"""Table 3: Kinetics-400, STDCF-R50 under full-size learning and ITSL beside four other networks.

§3.2.1's protocol: 8 frames at an interval of 8, crops of 224²; SGD with momentum 0.9 and weight
decay 1e-4; stage-t of iteration 1 for 256 epochs at 0.03, every later stage for 50 at 5e-4; tests
on 10 clips × 3 crops of 256². Each row exists twice. "own": as its authors train it
(`baselines.recipes`), which is what compares with the published accuracies. "common": all alike, by
§3.2.1 and, where the paper is silent, batch 64, full-size learning of every network from scratch
for 256 epochs at 0.03, a cosine schedule, and a linear warm-up over the first 34 epochs of these
(Feichtenhofer et al., 2019). The quick profile only shows that everything runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from baselines.recipes import KINETICS400
from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.weights import bind
from suites.experiments.shared import recipe_suite
from suites.experiments.shared.recipes import two_stage
from suites.experiments.shared.video_systems import KINETICS, System

CLASSES = 400
ITERATIONS = 3
LR, LATER_LR, WEIGHT_DECAY = 0.03, 5e-4, 1e-4
BATCH = 64
WARMUP = 34 / 256  # of the epochs at the higher rate


@dataclass(frozen=True, kw_only=True)
class Profile(recipe_suite.Profile):
    """`epochs` are of ITSL's first stage too, `later_epochs` of each of its other stages."""

    later_epochs: int

    def later(self, epochs: int | None) -> int:
        """Where --epochs is of the long stages; the others keep their share of them."""
        return math.ceil(self.later_epochs * (epochs or self.epochs) / self.epochs)


PROFILES = {
    "paper": Profile(epochs=256, later_epochs=50, batch_size=BATCH, data={}),
    # Few views of small clips: minutes on a generated tree.
    "quick": Profile(
        epochs=4,
        later_epochs=1,
        batch_size=8,
        data={**recipe_suite.SMALL_CLIPS, "test_clips": 2},
        is_published=False,
    ),
}


def schedules(
    epochs: int,
    later_epochs: int,
    *,
    iterations: int = ITERATIONS,
    beta: int = 2,
    gamma: int = 2,
) -> dict[str, tuple[Stage, ...]]:
    """Mode -> stages."""
    options: dict[str, Any] = {
        "optimizer": "sgd",
        "weight_decay": WEIGHT_DECAY,
        "schedule": "cosine",
        "warmup_epochs": int(epochs * WARMUP),
    }
    first, *later = itsl(iterations, epochs=epochs, lr=LR, beta=beta, gamma=gamma, **options)
    change: dict[str, Any] = {"epochs": later_epochs, "lr": LATER_LR, "warmup_epochs": 0}
    return {
        "full": full_size(epochs=epochs, lr=LR, **options),
        "itsl": (first, *(stage.changed(**change) for stage in later)),
    }


def _own_itsl(full: Stage, profile: Profile, epochs: int | None, share: float) -> Sequence[Stage]:
    first, *later = two_stage(full, ITERATIONS)
    change: dict[str, Any] = {"epochs": profile.later(epochs), "lr": LATER_LR * share}
    return (first, *(stage.changed(**change, warmup_epochs=0, warmup_start=0) for stage in later))


TABLE = recipe_suite.RecipeSuite(
    title="Table 3",
    name="kinetics_table3",
    file="table3_kinetics400",
    key="model",
    classes=CLASSES,
    stdcf=System("resnet3d_50", "stdcf", counted_size=256),
    others={
        "R(2+1)D": (System("r2plus1d_34", counted_size=256), "full"),
        "SlowFast": (
            System("slowfast_r50_8x8", frames=32, interval=2, counted_size=256),
            "full",
        ),
        "TSM": (System("tsm_r50"), "full"),
        "TIN": (System("tin_r50"), "full"),
    },
    iterations=ITERATIONS,
    own=KINETICS400,
    profiles=PROFILES,
    schedules=lambda profile, epochs: schedules(epochs or profile.epochs, profile.later(epochs)),
    own_itsl=_own_itsl,
    common=(
        (
            "none",
            f"{PROFILES['paper'].epochs} × {BATCH}",
            f"{LR:g}, cosine after a warm-up of 34, per epoch",
            f"{WEIGHT_DECAY:g}",
            "short side 256 to 320",
        ),
        "§3.2.1, all networks alike from scratch: no peer's own",
    ),
)
dataset_options, specs, tables, plan = TABLE.dataset_options, TABLE.specs, TABLE.tables, TABLE.plan
TABLES = TABLE.published_tables
SUITE = TABLE.suite(
    "Kinetics-400, STDCF-R50 beside four other networks",
    (*KINETICS, "diving48", "epic100", "video_list"),
    bind,
)
