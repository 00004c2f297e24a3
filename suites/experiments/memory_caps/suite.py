"""Memory caps: what fits under 0.5 to 16 GiB, what it costs, and what one cap leaves of accuracy.

Each network with each layer is planned for under every technique (a task of its own, no data); then
kth_cnn is trained under one cap, each technique with the largest batch that fits it, for equal
epochs a stage and for ITSL's computation: is ITSL worth it against checkpointing and autocast?
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stdcf.stages.stage import Stage, full_size, itsl, total_cost
from suites.engine.spec import RunSpec
from suites.engine.suite import COMMON_FIGURES, TRAINS, Request, Row, Suite
from suites.experiments.memory_caps.tables import tables
from suites.experiments.memory_caps.techniques import ITERATIONS, TRAINED, in_suite_order

MIB = 2**20
NETWORKS = ("kth_cnn", "resnet3d_50", "slowfast_r50_8x8")
LAYERS = ("regular", "rank1", "stdcf")
# §3.1 and §3.2.
ATOMS = {
    "kth_cnn": {"num_spatial_atoms": 3, "num_temporal_atoms": 2},
    "resnet3d_50": {"num_spatial_atoms": 6, "num_temporal_atoms": 2},
    "slowfast_r50_8x8": {"num_spatial_atoms": 6, "num_temporal_atoms": 2},
}
LR = 1e-3

# What a step multiplies beyond the plain one's.
STEP_COST = {"checkpoint": 4 / 3}

# Layer -> technique -> the largest batch up to LARGEST_BATCH whose peak on CPU fits the cap.
Batches = dict[str, dict[str, int]]
_LIKE_REGULAR = {
    "full": 8,
    "recompute": 10,
    "checkpoint": 10,
    "bf16": 9,
    "int8": 11,
    "offload": 13,
    "accumulate": 16,
    "itsl": 16,
    "itsl+bf16+checkpoint": 16,
}
_RANK1 = {
    "full": 6,
    "recompute": 7,
    "checkpoint": 8,
    "bf16": 7,
    "int8": 10,
    "offload": 13,
    "accumulate": 12,
    "itsl": 12,
    "itsl+bf16+checkpoint": 16,
}


@dataclass(frozen=True)
class Profile:
    """What a profile sets.

    Attributes:
        networks: name -> rounds of real steps that are timed here; 0 only predicts.
        size: height and width of the clips that are trained on.
        cap_bytes: of the runs that train.
    """

    networks: dict[str, int]
    size: tuple[int, int]
    cap_bytes: int
    batches: Batches
    epochs: int
    seeds: int
    rate_falls_after: float


PROFILES = {
    "quick": Profile(
        networks={"kth_cnn": 3, "resnet3d_50": 2, "slowfast_r50_8x8": 0},
        size=(30, 40),
        cap_bytes=25 * MIB,
        batches={
            "regular": {
                "full": 4,
                "recompute": 5,
                "checkpoint": 5,
                "bf16": 4,
                "int8": 5,
                "accumulate": 8,
                "itsl": 8,
                "itsl+bf16+checkpoint": 8,
            }
        },
        epochs=2,
        seeds=1,
        rate_falls_after=0.8,
    ),
    "paper": Profile(
        networks={"kth_cnn": 7, "resnet3d_50": 5, "slowfast_r50_8x8": 3},
        size=(60, 80),
        cap_bytes=192 * MIB,
        batches={"regular": _LIKE_REGULAR, "rank1": _RANK1, "stdcf": _LIKE_REGULAR},
        epochs=40,
        seeds=3,
        rate_falls_after=0.5,
    ),
}
DATASETS = ("synthetic_actions", "weizmann", "kth", "video_folder")


def dataset_options(request: Request) -> dict[str, Any]:
    """Clips of the profile's size; the quick profile takes the small synthetic set."""
    options: dict[str, Any] = {"size": list(PROFILES[request.profile].size)}
    if request.dataset == "synthetic_actions":
        options["variant"] = "quick" if request.profile == "quick" else "full"
    return options | dict(request.data_options)


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """The plans, then the trainings of each seed."""
    profile = PROFILES[request.profile]
    return [
        *(
            _plan(request, network, layer, rounds)
            for network, rounds in profile.networks.items()
            for layer in LAYERS
        ),
        *(
            _training(request, manifest, layer, technique, batch, budget, seed)
            for seed in request.each_seed(profile.seeds)
            for layer, batches in profile.batches.items()
            for technique, batch in batches.items()
            for budget in _budgets(technique)
        ),
    ]


def _plan(request: Request, network: str, layer: str, rounds: int) -> RunSpec:
    # What fits which cap, whatever the trainings are asked for.
    return RunSpec(
        suite="memory_caps",
        profile=request.profile,
        task="memory_caps",
        options={"rounds": rounds},
        model=network,
        layer=layer,
        layer_options=_layer_options(request, network, layer),
        mode=network,
        seed=0,
        device="cuda" if request.on_gpu else "cpu",
    )


def _training(
    request: Request,
    manifest: str,
    layer: str,
    technique: str,
    batch: int,
    budget: str,
    seed: int,
) -> RunSpec:
    profile = PROFILES[request.profile]
    return request.spec(
        "memory_caps",
        manifest,
        dataset_options=dataset_options(request),
        model="kth_cnn",
        layer=layer,
        layer_options=_layer_options(request, "kth_cnn", layer),
        mode=f"{technique}-{budget}",
        stages=stages(technique, budget, request.epochs or profile.epochs, profile),
        seed=seed,
        batch_size=batch,
        savers=TRAINED[technique],
        # CUDA's context alone is larger than the profiles' caps.
        cap_bytes=request.cap_bytes or (None if request.on_gpu else profile.cap_bytes),
    )


def _budgets(technique: str) -> tuple[str, ...]:
    """ITSL's computation is what the others are given in their second run."""
    return ("epochs",) if technique.startswith("itsl") else ("epochs", "computation")


def stages(technique: str, budget: str, epochs: int, profile: Profile) -> tuple[Stage, ...]:
    """A technique's schedule, for equal epochs a stage or for ITSL's computation."""

    def milestones(n: int) -> tuple[int, ...]:
        fall = int(n * profile.rate_falls_after)
        return (fall,) if fall else ()

    two_stage = itsl(ITERATIONS, epochs=epochs, lr=LR, milestones=milestones(epochs))
    if technique.startswith("itsl"):
        return two_stage
    if budget == "computation":
        epochs = max(round(total_cost(two_stage) / STEP_COST.get(technique, 1.0)), 1)
    return full_size(epochs=epochs, lr=LR, milestones=milestones(epochs))


def _layer_options(request: Request, network: str, layer: str) -> dict[str, Any]:
    own = ATOMS[network] if layer == "stdcf" else {}
    return own | dict(request.layer_options.get(layer, {}))


def figures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Memory against step cost of the plans; accuracy and memory of what was trained."""
    from suites.experiments.memory_caps import figure_accuracy as memory_caps_accuracy_figure
    from suites.experiments.memory_caps import figure_cost as memory_caps_figure

    ordered = in_suite_order(rows)
    return [
        *memory_caps_figure.draw(ordered, folder),
        *memory_caps_accuracy_figure.draw(ordered, folder),
    ]


SUITE = Suite(
    name="memory_caps",
    title="What fits under 0.5 to 16 GiB, and what ITSL and every memory saver cost",
    profiles=tuple(PROFILES),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=figures,
    # Its own figures show the same, readably for so many modes.
    leaves_out=COMMON_FIGURES,
    takes=[name for name in TRAINS if name != "amp"],
    because="it trains with and without bfloat16, each run by one process",
)
