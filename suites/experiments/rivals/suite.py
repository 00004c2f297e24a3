"""Rivals: what a person with too little memory would take instead of ITSL.

kth_cnn with the largest batch that a cap on a training step's peak leaves each technique, for
ITSL's computation, by the protocol of Table 2 (docs/protocol.md). docs/rivals.md has their cards.
"""

from suites.engine.spec import RunSpec
from suites.engine.suite import COMMON_FIGURES, TRAINS, Request, Suite, drawn_by
from suites.experiments.rivals.tables import tables
from suites.experiments.rivals.techniques import BATCHES, for_layer, stages
from suites.experiments.shared import kth
from suites.experiments.shared.kth import PROFILES, clips, dataset_options

LAYERS = ("regular", "stdcf")
# Of a data set with a split of its own.
SEEDS = {"quick": 1, "half": 3, "paper": 3}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """All techniques of a fold and seed, then of the next: what is not finished is a whole
    comparison of fewer folds."""
    persons = kth.folds(request)
    seeds = PROFILES[request.profile].seeds if None not in persons else SEEDS[request.profile]
    return [
        kth.spec(
            "rivals",
            request,
            manifest,
            layer,
            dataset_options=clips(request, person),
            mode=mode,
            stages=stages(
                technique,
                mode,
                request.profile,
                request.epochs,
                full=kth.rate_of(request, layer, "full", person),
                small=kth.rate_of(request, layer, "itsl", person),
            ),
            batch_size=BATCHES[request.profile][mode],
            savers=technique.savers,
            seed=seed,
        )
        for seed in request.each_seed(seeds)
        for person in persons
        for layer in LAYERS
        for mode, technique in for_layer(request.profile, layer).items()
    ]


SUITE = Suite(
    name="rivals",
    title="ITSL beside the schedules and savers that compete with it, under one cap",
    profiles=tuple(PROFILES),
    datasets=kth.DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("rivals.figure:draw"),
    options=("rates",),
    # Its own figure shows the same, readably for so many modes.
    leaves_out=COMMON_FIGURES,
    takes=tuple(name for name in (*TRAINS, "folds") if name not in ("amp", "cap_bytes")),
    because="each technique has a type and a batch for the suite's own cap",
)
