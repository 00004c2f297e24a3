"""Figure 3: clips played twice as fast as in training, with and without swapped temporal atoms.

The paper's text has faster clips ask for a larger dilation; as in Table 1 it is the other way: what
took two frames takes one, so atoms trained at dilation 2 are swapped for those of dilation 1.
`literal` tests the text's reading: trained at dilation 1, tested at 2 (§2.1.2).
"""

from suites.engine.spec import RunSpec
from suites.engine.suite import COMMON_FIGURES, TRAINS, Request, Suite, drawn_by
from suites.experiments.kth_tempo.tables import tables
from suites.experiments.shared import conditions
from suites.experiments.shared.conditions import Condition, full_network
from suites.experiments.shared.kth import DATASETS, PROFILES, dataset_options


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Two networks a layer, both of them Table 1's too; the first condition is the reference."""
    networks = {
        "dilated_time": (
            full_network(request, (2, 1)),
            [
                Condition(name="reference", dilation=(2, 1)),
                Condition(name="kept", dilation=(2, 1), tempo=2),
                Condition(name="swapped", dilation=(1, 1), tempo=2),
            ],
        ),
        "full": (
            full_network(request),
            [
                Condition(name="reference", dilation=(1, 1)),
                Condition(name="kept", dilation=(1, 1), tempo=2),
                Condition(name="literal", dilation=(2, 1), tempo=2),
            ],
        ),
    }
    return conditions.specs("kth_tempo", request, manifest, networks, maps=True)


SUITE = Suite(
    name="kth_tempo",
    title="Figure 3: clips twice as fast as in training, with and without swapped temporal atoms",
    profiles=tuple(PROFILES),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("kth_tempo.figure3:draw"),
    options=("rates",),
    takes=(*TRAINS, "folds", "ranks"),
    # They are Table 1's.
    leaves_out=COMMON_FIGURES,
)
