"""The ablation on Kinetics-400: layer × M, N × E × β, γ × dilation × memory cap × seed.

Everything else is Table 3's: ResNet-50, data, schedule, test. Every point of `points.py` is a run a
seed. E=1 and E=2 are read off E=3, and a cap that is kept is not trained again; `--dry-run` says
what is trained, the memory that it is predicted to need, and its GPU-hours.
"""

from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Suite
from suites.experiments.kinetics_grid.points import points, points_by_mode
from suites.experiments.kinetics_grid.tables import tables
from suites.experiments.kinetics_table3.suite import PROFILES, dataset_options
from suites.experiments.shared.video_systems import KINETICS, System, make_spec

SEEDS = {"paper": 3, "quick": 1}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Every point for the first seed, then for the next; --cap takes the place of the grid's."""
    profile = PROFILES[request.profile]
    epochs = request.epochs or profile.epochs
    later_epochs = profile.later(request.epochs)
    chosen = [p for p in points() if request.cap_bytes is None or p.cap_gib is None]
    made = []
    for seed in request.each_seed(SEEDS[request.profile]):
        for point in chosen:
            system = System("resnet3d_50", point.layer, layer_options=point.layer_options)
            made.append(
                make_spec(
                    system,
                    request,
                    suite="kinetics_grid",
                    manifest=manifest,
                    mode=point.mode,
                    stages=point.stages(epochs, later_epochs),
                    seed=seed,
                    batch_size=profile.batch_size,
                    data_options=dataset_options(request),
                    cap_bytes=point.cap_bytes,
                )
            )
    return made


def rank(spec: RunSpec) -> int:
    """The paper's rows first, in all seeds, then what changes one axis of them, then more."""
    return points_by_mode()[spec.layer, spec.mode].departures


SUITE = Suite(
    name="kinetics_grid",
    title="Ablation on Kinetics-400: layer, atoms, E, β, γ, dilation, memory cap",
    profiles=tuple(PROFILES),
    datasets=(*KINETICS, "video_list"),
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    in_gpu_hours=True,
    rank=rank,
)
