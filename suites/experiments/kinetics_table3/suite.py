"""Table 3: Kinetics-400, STDCF-R50 under full-size learning and ITSL beside four other networks.

§3.2.1's protocol: 8 frames at an interval of 8, crops of 224²; SGD with momentum 0.9 and weight
decay 1e-4; stage-t of iteration 1 for 256 epochs at 0.03, every later stage for 50 at 5e-4; tests
on 10 clips × 3 crops of 256². Chosen, since the paper is silent: batch 64, full-size learning of
every network for 256 epochs at 0.03, a cosine schedule, and a linear warm-up over the first 34
epochs of these (Feichtenhofer et al., 2019). The paper quotes the other networks' accuracies; here
all are trained alike. The quick profile only shows that everything runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.published_costs import predict_cost
from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row, Suite, no_figures
from suites.experiments.shared.video_systems import KINETICS, MEMORY_BATCH, System, clip, make_spec
from suites.experiments.shared.video_tables import (
    Line,
    PublishedTable,
    accuracy_table,
    cost_table,
    costs_of_rows,
    stage_table,
)
from suites.tables.table import Table

CLASSES = 400
ITERATIONS = 3
LR, LATER_LR, WEIGHT_DECAY = 0.03, 5e-4, 1e-4
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
    """

    epochs: int
    later_epochs: int
    batch_size: int
    seeds: int
    data: Mapping[str, Any]


PROFILES = {
    "paper": Profile(256, 50, batch_size=64, seeds=1, data={}),
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
    ),
}


def dataset_options(request: Request) -> dict[str, Any]:
    """Those of the networks that see 8 frames."""
    return {**PROFILES[request.profile].data, **request.data_options}


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
    """Every row for the first seed, then for the next; STDCF's own first."""
    profile = PROFILES[request.profile]
    epochs = request.epochs or profile.epochs
    # --epochs is of the long stages; the others keep their share of them.
    later_epochs = math.ceil(profile.later_epochs * epochs / profile.epochs)
    by_mode = schedules(epochs, later_epochs)
    return [
        make_spec(
            system,
            request,
            suite="kinetics_table3",
            manifest=manifest,
            mode=mode,
            stages=by_mode[mode],
            seed=seed,
            batch_size=profile.batch_size,
            data_options=dataset_options(request),
            num_classes=CLASSES,
        )
        for seed in request.each_seed(profile.seeds)
        for system, mode in (
            (STDCF_R50, "full"),
            (STDCF_R50, "itsl"),
            *((system, "full") for system in OTHERS.values()),
        )
    ]


def _line(name: str, system: System, mode: str, stage: str, *strides: int) -> Line:
    return Line(name, (system.model, system.layer, mode), stage, system.frames, *strides)


TABLE = PublishedTable(
    title="Table 3",
    file="table3_kinetics400",
    key="model",
    lines=(
        *(_line(name, s, "full", "full") for name, s in OTHERS.items()),
        _line("STDCF-R50-t-3", STDCF_R50, "itsl", "t3", 1, 2),
        _line("STDCF-R50-s-3", STDCF_R50, "itsl", "s3", 2, 1),
        _line("STDCF-R50", STDCF_R50, "full", "full"),
    ),
    counted_at={
        **{name: clip(s.frames, s.counted_size) for name, s in OTHERS.items()},
        **dict.fromkeys(("STDCF-R50-t-3", "STDCF-R50-s-3", "STDCF-R50"), clip(8, 256)),
    },
)


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy, and cost in the paper's setting."""
    return [accuracy_table(TABLE, rows), cost_table(TABLE, costs_of_rows(rows), MEMORY_BATCH)]


def plan(specs: Sequence[RunSpec]) -> list[Table]:
    """The cost of every row and the memory of every stage, predicted."""
    costs = {(s.model, s.layer, s.mode): predict_cost(s) for s in specs if s.seed == 0}
    return [cost_table(TABLE, costs, MEMORY_BATCH), stage_table(TABLE, costs, MEMORY_BATCH)]


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
)
