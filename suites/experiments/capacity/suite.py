"""§2.1.1 and Appendix A: how free each family of filters is, and how near it comes to filters.

Degrees of freedom are the numerical rank of the Jacobian of parameters → composed filter, beside
the paper's MNC² and (M+N)C². Best fits are of random filters and of the filters of a regular
kth_cnn that each run trains at full size.
"""

from dataclasses import dataclass

from suites.engine.spec import RunSpec
from suites.engine.suite import TRAINS, Request, Suite, drawn_by
from suites.experiments.capacity.tables import tables
from suites.experiments.shared import kth
from suites.experiments.shared.kth import DATASETS, dataset_options


@dataclass(frozen=True)
class Profile:
    """What is looked at.

    Attributes:
        ranks: channels C at which the Jacobian's rank is computed; with C² below M there are fewer
            free filters than the closed forms say.
        fit_channels: of the random filters.
        atoms: (M, N) of STDCF's fits.
        epochs: of the network whose filters are fitted.
        seeds: each draws other random filters and trains another network.
    """

    ranks: tuple[int, ...]
    fit_channels: int
    atoms: tuple[tuple[int, int], ...]
    epochs: int
    seeds: int


_ATOMS = ((1, 1), (3, 1), (3, 2), (3, 3), (6, 2), (6, 3), (9, 2), (9, 3))
PROFILES = {
    "quick": Profile((3, 4), 16, _ATOMS, epochs=5, seeds=1),
    "paper": Profile((3, 4, 5), 64, _ATOMS, epochs=40, seeds=3),
}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """One run a seed."""
    profile, training = PROFILES[request.profile], kth.PROFILES[request.profile]
    epochs = request.epochs or profile.epochs
    return [
        kth.spec(
            "capacity",
            request,
            manifest,
            "regular",
            task="capacity",
            options={
                "ranks": list(profile.ranks),
                "fit_channels": profile.fit_channels,
                "atoms": [list(pair) for pair in profile.atoms],
            },
            mode="capacity",
            stages=kth.schedules(epochs, training.rate_falls_after)["full"],
            seed=seed,
        )
        for seed in request.each_seed(profile.seeds)
    ]


SUITE = Suite(
    name="capacity",
    title="§2.1.1: degrees of freedom and best fits of each family of filters",
    profiles=tuple(PROFILES),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("capacity.figure:draw"),
    takes=TRAINS,
)
