"""Table 4: Something-Something v1, STDCF-R50 under full-size learning and ITSL beside seven rows.

§3.3's protocol: STDCF-R50 starts from Kinetics-400; full-size learning for 50 epochs at 1e-3, a
tenth of it from epoch 30 on; ITSL with two iterations, each stage 20 epochs at 2e-4, a tenth of it
from epoch 15 on; batch 64. Chosen, since the paper is silent: SGD with momentum 0.9 and weight
decay 1e-4 as on Kinetics; one frame of each of 8 (16, 32) segments; no mirroring; one centre-crop
clip to test on. Each row exists twice. "own": as its authors train it (`baselines.recipes`), which
is what compares with the published accuracies. "common": all by the schedule of full-size learning
above. A row that starts from Kinetics takes the weights of `kinetics_table3`'s run by the same
recipe in the same results folder, or `weights/<model>.pt` there. The quick profile starts what has
none from scratch and only shows that everything runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.recipes import SOMETHING_V1
from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.spec import RunSpec
from suites.engine.weights import IMAGENET, KINETICS, bind
from suites.experiments.kinetics_table3.suite import BATCH, WEIGHT_DECAY
from suites.experiments.shared import recipe_suite
from suites.experiments.shared.recipes import two_stage
from suites.experiments.shared.video_systems import System

CLASSES = 174
ITERATIONS = 2
LR, ITSL_LR = 1e-3, 2e-4


@dataclass(frozen=True, kw_only=True)
class Profile(recipe_suite.Profile):
    """Of full-size learning and of each of ITSL's stages: when the rate falls to a tenth."""

    falls_at: int
    itsl_epochs: int
    itsl_falls_at: int

    def fall(self, number: int, fall: int, epochs: int | None) -> dict[str, Any]:
        """Of a stage; --epochs is of full-size learning, and the rest scales."""
        share = 1.0 if epochs is None else epochs / self.epochs
        number, fall = math.ceil(number * share), math.ceil(fall * share)
        return {"epochs": number, "milestones": (fall,) if fall < number else ()}

    def itsl_fall(self, epochs: int | None) -> dict[str, Any]:
        """Of each of ITSL's stages."""
        return self.fall(self.itsl_epochs, self.itsl_falls_at, epochs)


PROFILES = {
    "paper": Profile(
        epochs=50, falls_at=30, itsl_epochs=20, itsl_falls_at=15, batch_size=BATCH, data={}
    ),
    # Small clips: minutes on a generated tree.
    "quick": Profile(
        epochs=4,
        falls_at=3,
        itsl_epochs=2,
        itsl_falls_at=1,
        batch_size=8,
        data=recipe_suite.SMALL_CLIPS,
        is_published=False,
    ),
}


def schedules(profile: Profile, epochs: int | None) -> dict[str, tuple[Stage, ...]]:
    """Mode -> stages of the common recipe. epochs: of full-size learning; the rest scales."""
    options: dict[str, Any] = {"optimizer": "sgd", "weight_decay": WEIGHT_DECAY}
    falls = profile.fall(profile.epochs, profile.falls_at, epochs)
    full = full_size(lr=LR, **falls, **options)
    iterated = itsl(ITERATIONS, lr=ITSL_LR, **profile.itsl_fall(epochs), **options)
    return {"full": full, "full_16_frames": full, "itsl": iterated}


def _own_itsl(full: Stage, profile: Profile, epochs: int | None, share: float) -> Sequence[Stage]:
    return two_stage(full, ITERATIONS, lr=ITSL_LR * share, **profile.itsl_fall(epochs))


def bound(specs: Sequence[RunSpec], results: Path) -> list[RunSpec]:
    """With the weights that are there; in the quick profile without those that are not."""
    return [
        spec.changed(starts_from=None)
        if spec.starts_from == KINETICS and spec.profile == "quick"
        else spec
        for spec in bind(specs, results)
    ]


TABLE = recipe_suite.RecipeSuite(
    title="Table 4",
    name="something_table4",
    file="table4_something_v1",
    key="method",
    classes=CLASSES,
    stdcf=System("resnet3d_50", "stdcf", starts_from=KINETICS),
    # Two rows are one network with other numbers of frames.
    others={
        "2D-R50": (System("tsn_r50", starts_from=IMAGENET), "full"),
        "TSN": (System("tsn_r50", frames=16, starts_from=IMAGENET), "full_16_frames"),
        "TRN": (System("trn_r50", starts_from=IMAGENET), "full"),
        "I3D": (System("i3d_r50", frames=32, starts_from=KINETICS), "full"),
        "I3D+GCN": (System("i3d_gcn_r50", frames=32, starts_from=KINETICS), "full"),
        "TIN": (System("tin_r50", starts_from=KINETICS), "full"),
        "TSM": (System("tsm_r50", starts_from=IMAGENET), "full"),
    },
    iterations=ITERATIONS,
    own=SOMETHING_V1,
    profiles=PROFILES,
    schedules=schedules,
    own_itsl=_own_itsl,
    common=(
        (
            "as published",
            f"{PROFILES['paper'].epochs} × {BATCH}",
            f"{LR:g}, ÷10 at {PROFILES['paper'].falls_at}",
            f"{WEIGHT_DECAY:g}",
            "short side 256 to 320",
        ),
        "§3.3, all networks alike: no peer's own",
    ),
)
dataset_options, specs, tables, plan = TABLE.dataset_options, TABLE.specs, TABLE.tables, TABLE.plan
TABLES = TABLE.published_tables
SUITE = TABLE.suite(
    "Something-Something, STDCF-R50 beside seven other rows",
    ("something_v1", "something_v2", "jester", "diving48", "epic100", "video_list"),
    bound,
)
