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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from baselines.recipes import KINETICS400
from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.published_costs import predict_cost
from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row, Suite, no_figures
from suites.engine.weights import IMAGENET, OWN, bind
from suites.experiments.shared import recipes
from suites.experiments.shared.video_systems import KINETICS, MEMORY_BATCH, System, clip, make_spec
from suites.experiments.shared.video_tables import (
    Line,
    PublishedTable,
    cost_tables,
    tables_of_recipes,
)
from suites.tables.table import Table

CLASSES = 400
ITERATIONS = 3
LR, LATER_LR, WEIGHT_DECAY = 0.03, 5e-4, 1e-4
BATCH = 64
WARMUP = 34 / 256  # of the epochs at the higher rate

STDCF_R50 = System("resnet3d_50", "stdcf", counted_size=256)
OTHERS = {
    "R(2+1)D": System("r2plus1d_34", counted_size=256),
    "SlowFast": System("slowfast_r50_8x8", frames=32, interval=2, counted_size=256),
    "TSM": System("tsm_r50"),
    "TIN": System("tin_r50"),
}


@dataclass(frozen=True)
class Profile:
    """What a profile sets.

    Attributes:
        epochs: of full-size learning and of ITSL's first stage.
        later_epochs: of each of ITSL's other stages.
        data: options of the data set.
        is_published: own recipes keep their epochs and batches, and start from ImageNet where they
            do; otherwise they have those of the profile, and their rates in proportion.
    """

    epochs: int
    later_epochs: int
    batch_size: int
    seeds: int
    data: Mapping[str, Any]
    is_published: bool = True


PROFILES = {
    "paper": Profile(256, 50, batch_size=BATCH, seeds=1, data={}),
    # A twelfth of the pixels and few views: minutes on a generated tree.
    "quick": Profile(
        4,
        1,
        batch_size=8,
        seeds=1,
        data={
            "crop": 64,
            "short_side": [72, 90],
            "test_crop": 64,
            "test_short_side": 72,
            "test_clips": 2,
        },
        is_published=False,
    ),
}


def dataset_options(request: Request) -> dict[str, Any]:
    """Those of the networks that see 8 frames."""
    return recipes.clip_options(PROFILES[request.profile].data, {}, request)


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


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Every row for the first seed, then for the next; own recipes and STDCF's rows first."""
    kinds = recipes.asked(request)
    request = recipes.without_choice(request)
    profile = PROFILES[request.profile]
    epochs = request.epochs or profile.epochs
    # --epochs is of the long stages; the others keep their share of them.
    later_epochs = math.ceil(profile.later_epochs * epochs / profile.epochs)
    by_mode = schedules(epochs, later_epochs)
    made = []
    for seed in request.each_seed(profile.seeds):
        common: dict[str, Any] = {"suite": "kinetics_table3", "manifest": manifest, "seed": seed}
        if "own" in kinds:
            made += [_own(system, mode, request, later_epochs, **common) for system, mode in _ROWS]
        if "common" in kinds:
            made += [
                make_spec(
                    system,
                    request,
                    mode=mode,
                    stages=by_mode[mode],
                    batch_size=profile.batch_size,
                    data_options=dataset_options(request),
                    num_classes=CLASSES,
                    **common,
                )
                for system, mode in _ROWS
            ]
    return made


_ROWS = (
    (STDCF_R50, "full"),
    (STDCF_R50, "itsl"),
    *((system, "full") for system in OTHERS.values()),
)


def _own(system: System, mode: str, request: Request, later_epochs: int, **common: Any) -> RunSpec:
    profile, recipe = PROFILES[request.profile], KINETICS400[system.model]
    if request.dataset not in KINETICS:
        # Folders of frames have no times to resample by.
        recipe = recipe.changed(data={k: v for k, v in recipe.data.items() if k != "fps"})
    usual = profile.is_published
    batch_size = recipe.batch_size if usual else profile.batch_size
    epochs = request.epochs or (None if usual else profile.epochs)
    (full,) = stages = recipe.stages(epochs, batch_size)
    if mode == "itsl":
        first, *later = recipes.two_stage(full, ITERATIONS)
        lr = LATER_LR * batch_size / recipe.batch_size
        change: dict[str, Any] = {"epochs": later_epochs, "lr": lr, "warmup_epochs": 0}
        stages = (first, *(stage.changed(**change, warmup_start=0) for stage in later))
    return recipes.own_spec(
        system,
        recipe,
        request,
        mode=mode,
        data=profile.data,
        starts_from=recipe.starts_from if usual or recipe.starts_from != IMAGENET else None,
        stages=stages,
        batch_size=batch_size,
        num_classes=CLASSES,
        **common,
    )


def _table(recipe: str, suffix: str) -> PublishedTable:
    def line(name: str, system: System, mode: str, stage: str, *strides: int) -> Line:
        run = (system.model, system.layer, mode + suffix)
        return Line(name, run, stage, system.frames, *strides)

    own = ("STDCF-R50-t-3", "STDCF-R50-s-3", "STDCF-R50")
    return PublishedTable(
        title="Table 3",
        file="table3_kinetics400",
        key="model",
        lines=(
            *(line(name, s, "full", "full") for name, s in OTHERS.items()),
            line(own[0], STDCF_R50, "itsl", "t3", 1, 2),
            line(own[1], STDCF_R50, "itsl", "s3", 2, 1),
            line(own[2], STDCF_R50, "full", "full"),
        ),
        counted_at={
            **{name: clip(s.frames, s.counted_size) for name, s in OTHERS.items()},
            **dict.fromkeys(own, clip(8, 256)),
        },
        recipe=recipe,
    )


TABLES = (_table("own", OWN), _table("common", ""))


def _recipes() -> Table:
    named = {**OTHERS, "STDCF-R50": STDCF_R50}
    common = (
        "none",
        f"{PROFILES['paper'].epochs} × {BATCH}",
        f"{LR:g}, cosine after a warm-up of 34, per epoch",
        f"{WEIGHT_DECAY:g}",
        "short side 256 to 320",
    )
    return recipes.recipe_table(
        "Table 3",
        [(name, KINETICS400[system.model]) for name, system in named.items()],
        common,
        "§3.2.1, all networks alike from scratch: no peer's own",
    )


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy by each recipe, cost in the paper's setting, and the recipes."""
    return [*tables_of_recipes(TABLES, rows, MEMORY_BATCH), _recipes()]


def plan(specs: Sequence[RunSpec]) -> list[Table]:
    """The cost of every row and the memory of every stage, predicted, and the recipes."""
    first = recipes.of_first(specs)
    costs = {(s.model, s.layer, s.mode): predict_cost(s) for s in first if s.seed == 0}
    return [*cost_tables(TABLES, costs, MEMORY_BATCH), _recipes()]


SUITE = Suite(
    name="kinetics_table3",
    title="Table 3: Kinetics-400, STDCF-R50 beside four other networks",
    profiles=tuple(PROFILES),
    datasets=(*KINETICS, "diving48", "epic100", "video_list"),
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=no_figures,
    plan=plan,
    bind=bind,
    options=("recipe",),
)
