"""Learning rates for Table 2, chosen on persons of Weizmann who are in no test (docs/protocol.md).

For each group of test persons the other six are split twice into four for training and two for
validation. Every layer and training mode has the same number of trials.
"""

from typing import Any

from suites.engine.spec import RunSpec
from suites.engine.suite import COMMON_FIGURES, TRAINS, Request, Suite
from suites.experiments.rate_sweep.tables import tables
from suites.experiments.shared import kth
from suites.experiments.shared.rates import GROUPS, trials, validations

# Profile -> epochs of full size, and of a stage of ITSL (11.25 full-size epochs in all).
EPOCHS = {"half": (12, 5)}
_FALLS_AFTER = 0.8


def dataset_options(request: Request) -> dict[str, Any]:
    """Clips of the profile's size; persons are chosen run by run."""
    return {"size": list(kth.PROFILES[request.profile].size)} | dict(request.data_options)


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Group by group and split by split, so that a sweep cut short is a whole one of fewer."""
    full_epochs, stage_epochs = EPOCHS[request.profile]
    if request.epochs is not None:
        full_epochs = stage_epochs = request.epochs
    return [
        kth.spec(
            "rate_sweep",
            request,
            manifest,
            layer,
            dataset_options=dataset_options(request)
            | {"test_persons": list(pair), "without": list(GROUPS[group])},
            mode=f"{mode}-lr{rate.lr:g}-atoms{rate.atom_lr:g}-{'-'.join(pair)}",
            stages=kth.schedules(
                full_epochs if mode == "full" else stage_epochs,
                _FALLS_AFTER,
                full_rate=rate,
                itsl_rate=rate,
                recalibrate=True,
            )[mode],
            seed=seed,
            options={"group": group, "trains_by": mode, "validation": list(pair)},
        )
        for seed in request.each_seed(1)
        for split in range(2)
        for group in GROUPS
        for pair in [validations(group)[split]]
        for layer in kth.LAYERS
        for mode in kth.MODES
        for rate in trials(layer)
    ]


SUITE = Suite(
    name="rate_sweep",
    title="Learning rates of each layer and training mode, chosen on validation persons",
    profiles=tuple(EPOCHS),
    datasets=("weizmann",),
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    takes=[name for name in TRAINS if name != "cap_bytes"],
    leaves_out=COMMON_FIGURES,
)
