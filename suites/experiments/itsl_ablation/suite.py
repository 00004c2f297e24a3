"""What ITSL's parts are worth: one change at a time from Table 2's STDCF (E=3, β=γ=2; §2.2, §2.3).

The paper gives one setting and no ablation of it. Every run is tested on full-size clips.
"""

from functools import partial
from typing import Any

from stdcf.stages.stage import full_size, itsl, total_cost
from suites.engine.suite import Request
from suites.experiments.shared.ablation import (
    Setting,
    Words,
    ablation_suite,
    changed,
    epochs_of,
    milestones,
)
from suites.experiments.shared.kth import ITERATIONS

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


SUITE = ablation_suite(
    "itsl_ablation",
    "ITSL: iterations, sizes, dilation, frozen parts, order, equal computation",
    settings=settings,
    words=WORDS,
    table_title="What ITSL's parts are worth",
    # Of sixteen settings neither can be read.
    leaves_out=("training_curves", "speed_ratios"),
)
