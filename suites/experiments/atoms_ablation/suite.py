"""Numbers of atoms, how they start, whose they are: one change from Table 2's STDCF (§2.1, §3.1).

Trained by Table 2's ITSL. The paper has M=3, N=2 for KTH, is silent on how atoms start, and gives
each layer its own.
"""

from typing import Any

from stdcf.stages.stage import itsl
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
    "base": Words("Table 2's", "M=3, N=2"),
    "rate_one": Words("Rates", "one for atoms and α"),
    "rate_balanced": Words("Rates", "one, all parts of one size"),
    "m1n1": Words("Atoms", "M=1, N=1"),
    "m9n3": Words("Atoms", "M=9, N=3 (dense)"),
    "shared": Words("Whose", "one set for all layers"),
    "init_dct": Words("Start", "cosines"),
    "init_fourier_bessel": Words("Start", "Fourier–Bessel"),
    "frozen_fourier_bessel": Words("Start", "Fourier–Bessel, frozen"),
    "m3n1": Words("Atoms", "M=3, N=1"),
    "m3n3": Words("Atoms", "M=3, N=3"),
    "m1n2": Words("Atoms", "M=1, N=2"),
    "m6n2": Words("Atoms", "M=6, N=2"),
    "m9n2": Words("Atoms", "M=9, N=2"),
    "init_normal": Words("Start", "DCFNet's normal"),
    "rate_orthogonal": Words("Rates", "one, orthogonal atoms"),
    "rate_dct": Words("Rates", "one, cosines"),
}
# Mode -> M and N of its atoms, where they are not Table 2's.
_ATOMS = {
    "m1n1": (1, 1),
    "m9n3": (9, 3),
    "m3n1": (3, 1),
    "m3n3": (3, 3),
    "m1n2": (1, 2),
    "m6n2": (6, 2),
    "m9n2": (9, 2),
}
# Mode -> how atoms start that have no rate of their own; None as Table 2's.
_ONE_RATE = {
    "rate_one": None,
    "rate_balanced": "balanced",
    "rate_orthogonal": "orthogonal",
    "rate_dct": "dct",
}
_INITS = {"dct": "init_dct", "fourier_bessel": "init_fourier_bessel", "normal": "init_normal"}


def settings(request: Request) -> dict[str, Setting]:
    """Mode -> its layers and schedule."""
    epochs = epochs_of(request)
    stages = itsl(ITERATIONS, epochs=epochs, lr=1e-3, milestones=milestones(request, epochs))
    layers: dict[str, dict[str, Any]] = {mode: {"init": init} for init, mode in _INITS.items()}
    found = {mode: Setting(stages, layers.get(mode, {})) for mode in WORDS}
    for mode, (m, n) in _ATOMS.items():
        found[mode] = Setting(stages, {"num_spatial_atoms": m, "num_temporal_atoms": n})
    for mode, init in _ONE_RATE.items():
        found[mode] = Setting(stages, {"init": init} if init else {}, one_rate=True)
    found["shared"] = Setting(stages, model_options={"share_atoms": True})
    found["frozen_fourier_bessel"] = Setting(
        changed(stages, trains=("joint",)), {"init": "fourier_bessel"}
    )
    return found


SUITE = ablation_suite(
    "atoms_ablation",
    "STDCF: numbers of atoms, how they start, shared or each layer's own",
    settings=settings,
    words=WORDS,
    table_title="What STDCF's atoms are worth",
)
