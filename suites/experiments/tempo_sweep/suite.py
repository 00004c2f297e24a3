"""Clips at half to four times their tempo, with atoms kept or dilated to match.

A network whose temporal atoms were trained at dilation d at tempo 1 sees the same moments at tempo
τ with dilation d/τ, where that is whole (§2.1.2). Slower clips are mixed from neighbouring frames.
"""

from suites.engine.spec import RunSpec
from suites.engine.suite import COMMON_FIGURES, TRAINS, Request, Suite, drawn_by
from suites.experiments.shared import conditions
from suites.experiments.shared.conditions import Condition, full_network
from suites.experiments.shared.kth import DATASETS, PROFILES, dataset_options
from suites.experiments.tempo_sweep.tables import NETWORKS, TEMPI, tables


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """A network for each dilation in training; those of 1 and 2 are Table 1's too."""
    networks = {}
    for mode, dilation in NETWORKS.items():
        tests = [Condition(name=f"kept_{t:g}", dilation=(dilation, 1), tempo=t) for t in TEMPI]
        tests += [
            Condition(name=f"matched_{t:g}", dilation=(int(dilation / t), 1), tempo=t)
            for t in TEMPI
            if (dilation / t).is_integer()
        ]
        networks[mode] = (full_network(request, (dilation, 1)), tests)
    return conditions.specs("tempo_sweep", request, manifest, networks)


SUITE = Suite(
    name="tempo_sweep",
    title="Test tempo 0.5 to 4, temporal atoms kept or dilated to match",
    profiles=tuple(PROFILES),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("tempo_sweep.figure:draw"),
    options=("rates",),
    takes=(*TRAINS, "folds", "ranks"),
    # They are Table 1's.
    leaves_out=COMMON_FIGURES,
)
