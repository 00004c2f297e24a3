"""What layer_speed times: shapes, and the layers that it times on each."""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial

from torch import nn

from baselines.layers import Rank1Conv3d
from baselines.layers.factorized import conv2plus1d, tensorly_conv3d
from stdcf.layers import STDCFConv3d
from suites.experiments.layer_speed.shapes import Shape

# (M, N): the paper's for KTH and for Kinetics.
ATOMS = ((3, 2), (6, 2))
PLANS = ("auto", "composed", "factored", "temporal_first", "spatial_first")


def layers(shape: Shape) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Name -> constructor of every layer that is timed; the first is nn.Conv3d."""
    i, o = shape.in_channels, shape.out_channels
    yield "regular", partial(nn.Conv3d, i, o, 3, padding=1, bias=False)
    yield "rank1", partial(Rank1Conv3d, i, o, 3, padding=1, bias=False)
    yield "torchvision Conv2Plus1D", partial(conv2plus1d, i, o)
    for m, n in ATOMS:
        for plan in PLANS:
            atoms = partial(STDCFConv3d, num_spatial_atoms=m, num_temporal_atoms=n, plan=plan)
            yield f"stdcf {m},{n} {plan}", partial(atoms, i, o, 3, padding=1, bias=False)
    if importlib.util.find_spec("tltorch") is None:
        return
    m, n = ATOMS[0]
    share = m * n / 27
    for factorization in ("cp", "tucker"):
        for implementation in ("factorized", "reconstructed"):
            yield (
                f"tensorly {factorization} {implementation}",
                partial(
                    tensorly_conv3d,
                    i,
                    o,
                    factorization=factorization,
                    implementation=implementation,
                    share=share,
                ),
            )


def missing() -> list[str]:
    """Libraries whose layers are left out because they are not installed."""
    return [] if importlib.util.find_spec("tltorch") is not None else ["tensorly-torch"]
