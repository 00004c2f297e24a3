"""Table 1: what dilated atoms do where training and test differ in resolution (§2.3, §3.1).

In space: trained on clips of half the size, tested on full-size ones, with the spatial atoms as
they are or dilated by 2. In time: trained on full-size clips with temporal atoms of dilation 1 or
2, tested on every second frame at dilation 1. The paper has STDCF alone.
"""

from suites.engine.spec import RunSpec
from suites.engine.suite import COMMON_FIGURES, TRAINS, Request, Suite, drawn_by
from suites.experiments.kth_table1.tables import tables
from suites.experiments.shared import conditions
from suites.experiments.shared.conditions import Condition, full_network
from suites.experiments.shared.kth import DATASETS, PROFILES, dataset_options


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Three networks a layer; the names of conditions are those of `kth_table1_tables`."""
    networks = {
        "half_size": (
            full_network(request, spatial_scale=0.5),
            [
                Condition(name="own", dilation=(1, 1), own_size=True),
                Condition(name="plain", dilation=(1, 1)),
                Condition(name="dilated", dilation=(1, 2)),
            ],
        ),
        "full": (
            full_network(request),
            [
                Condition(name="own", dilation=(1, 1)),
                Condition(name="plain", dilation=(1, 1), tempo=2),
            ],
        ),
        "dilated_time": (
            full_network(request, (2, 1)),
            [
                Condition(name="own", dilation=(2, 1)),
                Condition(name="kept", dilation=(2, 1), tempo=2),
                Condition(name="dilated", dilation=(1, 1), tempo=2),
            ],
        ),
    }
    return conditions.specs("kth_table1", request, manifest, networks)


SUITE = Suite(
    name="kth_table1",
    title="Table 1: dilated atoms across gaps in resolution, for all layers",
    profiles=tuple(PROFILES),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("kth_table1.figure:draw"),
    options=("rates",),
    takes=(*TRAINS, "folds", "ranks"),
    # Of memory and time they say what Table 2's say.
    leaves_out=COMMON_FIGURES,
)
