"""What ITSL's parts are worth: one change at a time from Table 2's STDCF (E=3, β=γ=2; §2.2, §2.3).

The paper gives one setting and no ablation of it. Every run is tested on full-size clips.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stdcf.stages.stage import full_size, itsl, total_cost
from suites.engine.spec import RunSpec
from suites.engine.suite import TRAINS, Request, Row, Suite
from suites.experiments.shared import ablation as ablations
from suites.experiments.shared.ablation import (
    Setting,
    Words,
    ablation_tables,
    changed,
    epochs_of,
    milestones,
)
from suites.experiments.shared.kth import DATASETS, ITERATIONS, PROFILES, dataset_options

# In the order of their value. The first is what the others change.
WORDS = {
    "base": Words("Table 2's", "E=3, β=γ=2"),
    "dilation_off": Words("Dilation", "none"),
    "trains_all": Words("Trained", "all parts in both stages"),
    "order_st": Words("Order", "stage-s first"),
    "full_compute": Words("Equal computation", "full size, 2.25 × epochs"),
    "e1": Words("Iterations", "E=1"),
    "e1_compute": Words("Equal computation", "E=1, 3 × epochs"),
    "trains_atoms_s": Words("Trained", "α in stage-t alone"),
    "trains_joint": Words("Trained", "α alone, atoms as drawn"),
    "beta4": Words("Sizes", "β=4, γ=2"),
    "gamma4": Words("Sizes", "β=2, γ=4"),
    "beta1": Words("Sizes", "β=1, γ=2"),
    "gamma1": Words("Sizes", "β=2, γ=1"),
    "e5": Words("Iterations", "E=5"),
    "e2": Words("Iterations", "E=2"),
    "e4": Words("Iterations", "E=4"),
}


def settings(request: Request) -> dict[str, Setting]:
    """Mode -> its schedule."""
    epochs = epochs_of(request)

    def fall(n: int) -> dict[str, Any]:
        return {"epochs": n, "lr": 1e-3, "milestones": milestones(request, n)}

    two_stage = partial(itsl, ITERATIONS, **fall(epochs))
    base = two_stage()
    compute = max(round(total_cost(base)), 1)
    schedules = {
        "base": base,
        "dilation_off": changed(base, dilation=(1, 1), test_dilation=(1, 1)),
        "trains_all": changed(base, trains=("spatial", "temporal", "joint")),
        "order_st": tuple(
            stage for pair in zip(base[1::2], base[::2], strict=True) for stage in pair
        ),
        "full_compute": full_size(**fall(compute)),
        "e1": itsl(1, **fall(epochs)),
        "e1_compute": itsl(1, **fall(ITERATIONS * epochs)),
        "trains_atoms_s": tuple(
            stage.changed(trains=("spatial",)) if "spatial" in stage.trains else stage
            for stage in base
        ),
        "trains_joint": changed(base, trains=("joint",)),
        "beta4": two_stage(beta=4),
        "gamma4": two_stage(gamma=4),
        "beta1": two_stage(beta=1),
        "gamma1": two_stage(gamma=1),
        "e5": itsl(5, **fall(epochs)),
        "e2": itsl(2, **fall(epochs)),
        "e4": itsl(4, **fall(epochs)),
    }
    return {mode: Setting(schedules[mode]) for mode in WORDS}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Every setting for the first seed, then for the next."""
    return ablations.specs("itsl_ablation", request, manifest, settings(request))


def figures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Accuracy of every setting."""
    from suites.experiments.shared.ablation import draw

    return draw(rows, folder, WORDS, "itsl_ablation", TITLE)


TITLE = "What ITSL's parts are worth"
SUITE = Suite(
    name="itsl_ablation",
    title="ITSL: iterations, sizes, dilation, frozen parts, order, equal computation",
    profiles=tuple(PROFILES),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=partial(ablation_tables, words=WORDS, title=TITLE),
    figures=figures,
    options=("rates",),
    takes=(*TRAINS, "folds", "ranks"),
    # Of sixteen settings neither can be read.
    leaves_out=("training_curves", "speed_ratios"),
)
