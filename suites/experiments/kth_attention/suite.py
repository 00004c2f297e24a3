"""Figure 6: where the network looks after the first stage-t and after the second stage-s.

The last convolution's feature maps are summed over channels and laid over the frames (§3.1). The
paper shows four frames of two clips; here a number for all test clips stands beside them.
"""

from collections.abc import Sequence

from suites.engine.spec import RunSpec
from suites.engine.suite import COMMON_FIGURES, TRAINS, Request, Row, Suite, drawn_by
from suites.experiments.shared import stage_maps
from suites.experiments.shared.kth import DATASETS, PROFILES, dataset_options
from suites.experiments.shared.stage_maps import table
from suites.tables.table import Table


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Table 2's ITSL, looked at after t1 and s2."""
    return stage_maps.specs("kth_attention", "attention", ("t1", "s2"), request, manifest)


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy, and how much of the maps lies where clips move."""
    note = "map: the last convolution's output after BatchNorm and ReLU, summed over channels"
    return [table(rows, "Figure 6: attention", [note])]


SUITE = Suite(
    name="kth_attention",
    title="Figure 6: where networks look after stage-t and after stage-s",
    profiles=tuple(PROFILES),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by(
        "shared.stage_maps_figure:draw",
        name="figure6",
        what="the last convolution's feature maps summed over channels",
    ),
    options=("rates",),
    takes=(*TRAINS, "folds", "ranks"),
    # They are Table 2's.
    leaves_out=COMMON_FIGURES,
)
