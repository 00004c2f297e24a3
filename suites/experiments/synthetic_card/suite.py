"""The card of the embedded data set: what it asks of time and of detail.

kth_cnn with regular layers, a model of its own trained and tested for each condition: full clips,
every second frame, half size, one frame. docs/synthetic_actions.md shows the result.
"""

from dataclasses import dataclass
from typing import Any

from stdcf.errors import UserError
from stdcf.stages.stage import full_size
from suites.engine.spec import RunSpec
from suites.engine.suite import TRAINS, Request, Suite, drawn_by
from suites.experiments.synthetic_card.tables import CONDITIONS, tables


@dataclass(frozen=True)
class Profile:
    """What a profile sets: the variant, its clip size (height, width), epochs, seeds, batch."""

    variant: str
    size: tuple[int, int]
    epochs: int
    seeds: int
    batch_size: int


PROFILES = {
    "paper": Profile("full", (60, 80), epochs=24, seeds=3, batch_size=16),
    "quick": Profile("quick", (30, 40), epochs=8, seeds=1, batch_size=8),
}


def dataset_options(request: Request) -> dict[str, Any]:
    """Those of the full clip.

    Raises:
        UserError: for an option that the conditions set.
    """
    for name in ("size", "frames"):
        if name in request.data_options:
            raise UserError(f"--data-option {name}: the card's conditions set it; leave it out")
    profile = PROFILES[request.profile]
    return {"size": list(profile.size), "variant": profile.variant} | dict(request.data_options)


def condition_options(request: Request) -> dict[str, dict[str, Any]]:
    """Condition -> the data set's options."""
    full = dataset_options(request)
    changes: dict[str, dict[str, Any]] = {
        "full_clip": {},
        "every_second_frame": {"frames": "every_second"},
        "half_size": {"size": [side // 2 for side in full["size"]]},
        "one_frame": {"frames": "one"},
    }
    return {condition: full | changes[condition] for condition in CONDITIONS}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Every condition for the first seed, then for the next."""
    profile = PROFILES[request.profile]
    # Three times the paper's rate, falling along a cosine, less dropout, and bfloat16: convergence
    # in a third of the time.
    stages = full_size(epochs=request.epochs or profile.epochs, lr=3e-3, schedule="cosine")
    return [
        request.spec(
            "synthetic_card",
            manifest,
            dataset_options=options,
            model="kth_cnn",
            layer="regular",
            model_options={"dropout": 0.2} | dict(request.model_options),
            mode=condition,
            stages=stages,
            seed=seed,
            batch_size=profile.batch_size,
            amp=True,
        )
        for seed in request.each_seed(profile.seeds)
        for condition, options in condition_options(request).items()
    ]


SUITE = Suite(
    name="synthetic_card",
    title="What the synthetic clips ask of time and of detail",
    profiles=tuple(PROFILES),
    datasets=("synthetic_actions",),
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("synthetic_card.figure:draw"),
    takes=[name for name in (*TRAINS, "ranks") if name != "amp"],
    because="its networks are all trained in bfloat16",
)
