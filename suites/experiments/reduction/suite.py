"""§2.4's formulas against counted parameters and multiply-accumulates, over t, k, M, N and C.

Nothing is trained: layers are built and counted, nn.Conv3d beside STDCFConv3d.
"""

from suites.engine.spec import NO_DATA, RunSpec
from suites.engine.suite import Request, Suite, drawn_by
from suites.experiments.reduction.tables import tables

# (t, k) -> a run each.
SIZES = ((3, 3), (3, 5), (5, 3), (5, 5))
# Profile -> channels, numbers of spatial and of temporal atoms.
PROFILES = {
    "paper": ((16, 32, 64, 128, 256), (1, 3, 6, 9), (1, 2, 3)),
    "quick": ((16, 64), (3, 6), (1, 2)),
}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """One run a filter size; counting knows no seeds."""
    channels, spatial, temporal = PROFILES[request.profile]
    return [
        request.spec(
            "reduction",
            task="reduction",
            layer="stdcf",
            mode=f"t{t}k{k}",
            seed=0,
            options={
                "t": t,
                "k": k,
                "channels": list(channels),
                "spatial_atoms": list(spatial),
                "temporal_atoms": list(temporal),
                "clip": [8, 16, 16],
            },
        )
        for t, k in SIZES
    ]


SUITE = Suite(
    name="reduction",
    title="§2.4: the reduction formulas against counted parameters and MACs",
    profiles=tuple(PROFILES),
    datasets=(NO_DATA,),
    dataset_options=lambda request: {},
    specs=specs,
    tables=tables,
    figures=drawn_by("reduction.figure:draw"),
    takes_without_data=(),
    because="it counts, and trains nothing",
)
