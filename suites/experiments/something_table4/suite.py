"""Table 4: Something-Something v1, STDCF-R50 under full-size learning and ITSL beside seven rows.

§3.3's protocol: STDCF-R50 starts from Kinetics-400; full-size learning for 50 epochs at 1e-3, a
tenth of it from epoch 30 on; ITSL with two iterations, each stage 20 epochs at 2e-4, a tenth of it
from epoch 15 on; batch 64. Chosen, since the paper is silent: SGD with momentum 0.9 and weight
decay 1e-4 as on Kinetics; one frame of each of 8 (16, 32) segments; no mirroring; one centre-crop
clip to test on; the other rows, whose accuracies the paper quotes, by the schedule of full-size
learning. A row that starts from Kinetics takes the weights of `kinetics_table3`'s run in the same
results folder, or `weights/<model>.pt` there. The quick profile starts what has none from scratch
and only shows that everything runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.published_costs import predict_cost
from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row, Suite, no_figures
from suites.engine.weights import IMAGENET, KINETICS, bind
from suites.experiments.kinetics_table3.suite import WEIGHT_DECAY
from suites.experiments.shared.video_systems import MEMORY_BATCH, System, clip, make_spec
from suites.experiments.shared.video_tables import (
    Line,
    PublishedTable,
    accuracy_table,
    cost_table,
    costs_of_rows,
    stage_table,
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
        has_imagenet: rows that the paper starts from ImageNet do so.
    """

    epochs: int
    falls_at: int
    itsl_epochs: int
    itsl_falls_at: int
    batch_size: int
    seeds: int
    data: Mapping[str, Any]
    has_imagenet: bool


PROFILES = {
    "paper": Profile(50, 30, 20, 15, batch_size=64, seeds=1, data={}, has_imagenet=True),
    # A twelfth of the pixels: minutes on a generated tree.
    "quick": Profile(
        4,
        3,
        2,
        1,
        batch_size=8,
        seeds=1,
        data={"crop": 64, "short_side": [72, 90], "test_crop": 64, "test_short_side": 72},
        has_imagenet=False,
    ),
}


def dataset_options(request: Request) -> dict[str, Any]:
    """Those of the networks that see 8 frames."""
    return {**PROFILES[request.profile].data, **request.data_options}


def schedules(profile: Profile, epochs: int | None) -> dict[str, tuple[Stage, ...]]:
    """Mode -> stages. epochs: of full-size learning; everything else scales with it."""
    scale = 1.0 if epochs is None else epochs / profile.epochs

    def scaled(number: int) -> int:
        return math.ceil(number * scale)

    def milestones(falls_at: int, of: int) -> tuple[int, ...]:
        return (scaled(falls_at),) if scaled(falls_at) < scaled(of) else ()

    options: dict[str, Any] = {"optimizer": "sgd", "weight_decay": WEIGHT_DECAY}
    full = full_size(
        epochs=scaled(profile.epochs),
        lr=LR,
        milestones=milestones(profile.falls_at, profile.epochs),
        **options,
    )
    two_stage = itsl(
        ITERATIONS,
        epochs=scaled(profile.itsl_epochs),
        lr=ITSL_LR,
        milestones=milestones(profile.itsl_falls_at, profile.itsl_epochs),
        **options,
    )
    return {"full": full, "full_16_frames": full, "itsl": two_stage}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Every row for the first seed, then for the next; STDCF's own first."""
    profile = PROFILES[request.profile]
    by_mode = schedules(profile, request.epochs)
    made = []
    for seed in request.each_seed(profile.seeds):
        for system, mode in ((STDCF_R50, "full"), (STDCF_R50, "itsl"), *OTHERS.values()):
            if system.starts_from == IMAGENET and not profile.has_imagenet:
                system = replace(system, starts_from=None)
            made.append(
                make_spec(
                    system,
                    request,
                    suite="something_table4",
                    manifest=manifest,
                    mode=mode,
                    stages=by_mode[mode],
                    seed=seed,
                    batch_size=profile.batch_size,
                    data_options=dataset_options(request),
                    num_classes=CLASSES,
                )
            )
    return made


def bound(specs: Sequence[RunSpec], results: Any) -> list[RunSpec]:
    """With the weights that are there; in the quick profile without those that are not."""
    found = bind(specs, results)
    return [
        spec.changed(starts_from=None)
        if spec.starts_from == KINETICS and spec.profile == "quick"
        else spec
        for spec in found
    ]


def _line(name: str, system: System, mode: str, stage: str, *strides: int) -> Line:
    return Line(name, (system.model, system.layer, mode), stage, system.frames, *strides)


TABLE = PublishedTable(
    title="Table 4",
    file="table4_something_v1",
    key="method",
    lines=(
        *(_line(name, s, mode, "full") for name, (s, mode) in OTHERS.items()),
        _line("STDCF-R50-t-2", STDCF_R50, "itsl", "t2", 1, 2),
        _line("STDCF-R50-s-2", STDCF_R50, "itsl", "s2", 2, 1),
        _line("STDCF-R50", STDCF_R50, "full", "full"),
    ),
    counted_at={
        **{name: clip(system.frames) for name, (system, _) in OTHERS.items()},
        **dict.fromkeys(("STDCF-R50-t-2", "STDCF-R50-s-2", "STDCF-R50"), clip(8)),
    },
)


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy, and cost in the paper's setting."""
    return [
        accuracy_table(TABLE, rows, extra=True),
        cost_table(TABLE, costs_of_rows(rows), MEMORY_BATCH),
    ]


def plan(specs: Sequence[RunSpec]) -> list[Table]:
    """The cost of every row and the memory of every stage, predicted."""
    costs = {(s.model, s.layer, s.mode): predict_cost(s) for s in specs if s.seed == 0}
    return [cost_table(TABLE, costs, MEMORY_BATCH), stage_table(TABLE, costs, MEMORY_BATCH)]


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
)
