"""How fast each layer is, and what it takes of memory: nn.Conv3d is 1.

Beside STDCF in every plan stand rank-1, torchvision's (2+1)D and TensorLy-Torch's factorised
convolutions (where it is installed), on the shapes of ResNet-50 and kth_cnn.
"""

from suites.engine.spec import NO_DATA, RunSpec
from suites.engine.suite import Request, Suite, drawn_by
from suites.experiments.layer_speed.shapes import SHAPES
from suites.experiments.layer_speed.tables import tables

NAME = "layer_speed"
# Profile -> types, clips of a layer's batch, seconds a run, networks with their batches.
PROFILES = {
    "quick": (("float32",), 1, 20, (("kth_cnn", 4),)),
    "paper": (("float32", "bfloat16"), 4, 40, (("kth_cnn", 16), ("resnet3d_50", 1))),
}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """One run a shape and type, then one a network and type."""
    dtypes, batch, seconds, networks = PROFILES[request.profile]
    wanted = [("layer_speed", "shape", name, batch) for name in SHAPES]
    wanted += [("network_speed", "network", name, clips) for name, clips in networks]
    return [
        request.spec(
            NAME,
            task=task,
            mode=f"{name}-{dtype}",
            seed=seed,
            # The bars are for two cores.
            threads=2,
            options={kind: name, "dtype": dtype, "batch": clips, "seconds": seconds},
        )
        for seed in request.each_seed(1)
        for dtype in dtypes
        for task, kind, name, clips in wanted
    ]


SUITE = Suite(
    name=NAME,
    title="Time and memory of every layer and plan against nn.Conv3d",
    profiles=tuple(PROFILES),
    datasets=(NO_DATA,),
    dataset_options=lambda request: {},
    specs=specs,
    tables=tables,
    figures=drawn_by("layer_speed.figure:draw"),
    workers=1,
    takes_without_data=("seeds", "device"),
    because="it times layers in the types of its profile, and trains nothing",
)
