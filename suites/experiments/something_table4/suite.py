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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from baselines.recipes import SOMETHING_V1
from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.published_costs import predict_cost
from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row, Suite, no_figures
from suites.engine.weights import IMAGENET, KINETICS, OWN, bind
from suites.experiments.kinetics_table3.suite import BATCH, WEIGHT_DECAY
from suites.experiments.shared import recipes
from suites.experiments.shared.video_systems import MEMORY_BATCH, System, clip, make_spec
from suites.experiments.shared.video_tables import (
    Line,
    PublishedTable,
    cost_tables,
    tables_of_recipes,
)
from suites.tables.table import Table

CLASSES = 174
ITERATIONS = 2
LR, ITSL_LR = 1e-3, 2e-4

STDCF_R50 = System("resnet3d_50", "stdcf", starts_from=KINETICS)
# Published name -> network and mode; two rows are one network with other numbers of frames.
OTHERS: dict[str, tuple[System, str]] = {
    "2D-R50": (System("tsn_r50", starts_from=IMAGENET), "full"),
    "TSN": (System("tsn_r50", frames=16, starts_from=IMAGENET), "full_16_frames"),
    "TRN": (System("trn_r50", starts_from=IMAGENET), "full"),
    "I3D": (System("i3d_r50", frames=32, starts_from=KINETICS), "full"),
    "I3D+GCN": (System("i3d_gcn_r50", frames=32, starts_from=KINETICS), "full"),
    "TIN": (System("tin_r50", starts_from=KINETICS), "full"),
    "TSM": (System("tsm_r50", starts_from=IMAGENET), "full"),
}


@dataclass(frozen=True)
class Profile:
    """What a profile sets.

    Attributes:
        epochs, falls_at: of full-size learning, and when the rate falls to a tenth.
        itsl_epochs, itsl_falls_at: of each of ITSL's stages.
        data: options of the data set.
        is_published: rows that the paper starts from ImageNet do so, and own recipes keep their
            epochs and batches; otherwise they have those of the profile, and their rates in
            proportion.
    """

    epochs: int
    falls_at: int
    itsl_epochs: int
    itsl_falls_at: int
    batch_size: int
    seeds: int
    data: Mapping[str, Any]
    is_published: bool


PROFILES = {
    "paper": Profile(50, 30, 20, 15, batch_size=BATCH, seeds=1, data={}, is_published=True),
    # A twelfth of the pixels: minutes on a generated tree.
    "quick": Profile(
        4,
        3,
        2,
        1,
        batch_size=8,
        seeds=1,
        data={"crop": 64, "short_side": [72, 90], "test_crop": 64, "test_short_side": 72},
        is_published=False,
    ),
}


def dataset_options(request: Request) -> dict[str, Any]:
    """Those of the networks that see 8 frames."""
    return recipes.clip_options(PROFILES[request.profile].data, {}, request)


def _scaled(number: int, profile: Profile, epochs: int | None) -> int:
    """Epochs of the profile, where --epochs is of full-size learning."""
    return math.ceil(number * (1.0 if epochs is None else epochs / profile.epochs))


def _stage_of_itsl(profile: Profile, epochs: int | None) -> dict[str, Any]:
    number = _scaled(profile.itsl_epochs, profile, epochs)
    fall = _scaled(profile.itsl_falls_at, profile, epochs)
    return {"epochs": number, "milestones": (fall,) if fall < number else ()}


def schedules(profile: Profile, epochs: int | None) -> dict[str, tuple[Stage, ...]]:
    """Mode -> stages of the common recipe. epochs: of full-size learning; the rest scales."""
    number = _scaled(profile.epochs, profile, epochs)
    fall = _scaled(profile.falls_at, profile, epochs)
    options: dict[str, Any] = {"optimizer": "sgd", "weight_decay": WEIGHT_DECAY}
    falls = (fall,) if fall < number else ()
    full = full_size(epochs=number, lr=LR, milestones=falls, **options)
    two_stage = itsl(ITERATIONS, lr=ITSL_LR, **_stage_of_itsl(profile, epochs), **options)
    return {"full": full, "full_16_frames": full, "itsl": two_stage}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Every row for the first seed, then for the next; own recipes and STDCF's rows first."""
    kinds = recipes.asked(request)
    request = recipes.without_choice(request)
    profile = PROFILES[request.profile]
    by_mode = schedules(profile, request.epochs)
    rows = ((STDCF_R50, "full"), (STDCF_R50, "itsl"), *OTHERS.values())
    made = []
    for seed in request.each_seed(profile.seeds):
        common: dict[str, Any] = {"suite": "something_table4", "manifest": manifest, "seed": seed}
        if "own" in kinds:
            made += [_own(system, mode, request, **common) for system, mode in rows]
        if "common" in kinds:
            made += [
                make_spec(
                    replace(system, starts_from=_start(system.starts_from, profile)),
                    request,
                    mode=mode,
                    stages=by_mode[mode],
                    batch_size=profile.batch_size,
                    data_options=dataset_options(request),
                    num_classes=CLASSES,
                    **common,
                )
                for system, mode in rows
            ]
    return made


def _start(origin: str | None, profile: Profile) -> str | None:
    return None if origin == IMAGENET and not profile.is_published else origin


def _own(system: System, mode: str, request: Request, **common: Any) -> RunSpec:
    profile, recipe = PROFILES[request.profile], SOMETHING_V1[system.model]
    usual = profile.is_published
    batch_size = recipe.batch_size if usual else profile.batch_size
    (full,) = stages = recipe.stages(
        request.epochs or (None if usual else profile.epochs), batch_size
    )
    if mode == "itsl":
        lr = ITSL_LR * batch_size / recipe.batch_size
        changes = _stage_of_itsl(profile, request.epochs)
        stages = recipes.two_stage(full, ITERATIONS, lr=lr, **changes)
    return recipes.own_spec(
        system,
        recipe,
        request,
        mode=mode,
        data=profile.data,
        starts_from=_start(recipe.starts_from, profile),
        stages=stages,
        batch_size=batch_size,
        num_classes=CLASSES,
        **common,
    )


def bound(specs: Sequence[RunSpec], results: Any) -> list[RunSpec]:
    """With the weights that are there; in the quick profile without those that are not."""
    found = bind(specs, results)
    return [
        spec.changed(starts_from=None)
        if spec.starts_from == KINETICS and spec.profile == "quick"
        else spec
        for spec in found
    ]


def _table(recipe: str, suffix: str) -> PublishedTable:
    def line(name: str, system: System, mode: str, stage: str, *strides: int) -> Line:
        run = (system.model, system.layer, mode + suffix)
        return Line(name, run, stage, system.frames, *strides)

    own = ("STDCF-R50-t-2", "STDCF-R50-s-2", "STDCF-R50")
    return PublishedTable(
        title="Table 4",
        file="table4_something_v1",
        key="method",
        lines=(
            *(line(name, s, mode, "full") for name, (s, mode) in OTHERS.items()),
            line(own[0], STDCF_R50, "itsl", "t2", 1, 2),
            line(own[1], STDCF_R50, "itsl", "s2", 2, 1),
            line(own[2], STDCF_R50, "full", "full"),
        ),
        counted_at={
            **{name: clip(system.frames) for name, (system, _) in OTHERS.items()},
            **dict.fromkeys(own, clip(8)),
        },
        recipe=recipe,
    )


TABLES = (_table("own", OWN), _table("common", ""))


def _recipes() -> Table:
    named = {**{name: system for name, (system, _) in OTHERS.items()}, "STDCF-R50": STDCF_R50}
    profile = PROFILES["paper"]
    common = (
        "as published",
        f"{profile.epochs} × {BATCH}",
        f"{LR:g}, ÷10 at {profile.falls_at}",
        f"{WEIGHT_DECAY:g}",
        "short side 256 to 320",
    )
    return recipes.recipe_table(
        "Table 4",
        [(name, SOMETHING_V1[system.model]) for name, system in named.items()],
        common,
        "§3.3, all networks alike: no peer's own",
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
    name="something_table4",
    title="Table 4: Something-Something, STDCF-R50 beside seven other rows",
    profiles=tuple(PROFILES),
    datasets=("something_v1", "something_v2", "jester", "diving48", "epic100", "video_list"),
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=no_figures,
    plan=plan,
    bind=bound,
    options=("recipe",),
)
