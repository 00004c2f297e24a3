"""The setting of §3.1 on KTH: networks, profiles, schedules and runs that several suites share."""

from dataclasses import dataclass
from typing import Any

from stdcf.stages.stage import Stage, full_size, itsl, total_cost
from suites.engine.spec import PublishedSetting, RunSpec
from suites.engine.suite import Request
from suites.reporting.figures import style

ITERATIONS = 3
LAYERS = ("regular", "rank1", "stdcf")
MODES = ("full", "itsl")
CONTROLS = ("full_same_compute", "full_dilated")
# §3.1: M=3, N=2; composing the filter is the plan whose memory is Table 2's.
LAYER_OPTIONS: dict[str, dict[str, object]] = {
    "stdcf": {"num_spatial_atoms": 3, "num_temporal_atoms": 2, "plan": "composed"}
}
# Table 2's memory: batch 16, six classes, and the ReLU of 2021 that kept its input.
PUBLISHED = PublishedSetting(
    input_shape=(16, 1, 16, 60, 80), num_classes=6, model_options={"relu_saves": "input"}
)


@dataclass(frozen=True)
class Profile:
    """What a profile sets: clip size (height, width), epochs a stage, seeds, batch.

    rate_falls_after: part of a stage's epochs after which the rate falls to a tenth.
    """

    size: tuple[int, int]
    epochs: int
    seeds: int
    batch_size: int = 16
    rate_falls_after: float = 0.5


PROFILES = {
    # Half of the paper's height and width and few, small steps: the whole table in minutes.
    "quick": Profile((30, 40), epochs=5, seeds=1, batch_size=8, rate_falls_after=0.8),
    # §3.1: 16×60×80 clips, 40 epochs, the rate divided by ten at epoch 20.
    "paper": Profile((60, 80), epochs=40, seeds=3),
}


DATASETS = ("synthetic_actions", "kth", "weizmann", "video_folder")


def dataset_options(request: Request) -> dict[str, Any]:
    """Clip size of the profile; the quick profile takes the small synthetic set."""
    options: dict[str, Any] = {"size": list(PROFILES[request.profile].size)}
    if request.dataset == "synthetic_actions":
        options["variant"] = "quick" if request.profile == "quick" else "full"
    return options | dict(request.data_options)


def schedules(epochs: int, rate_falls_after: float = 0.5) -> dict[str, tuple[Stage, ...]]:
    """Mode -> stages. The rate falls to a tenth after half of a stage's epochs, as in the paper."""

    def milestones(n: int) -> tuple[int, ...]:
        fall = int(n * rate_falls_after)
        return (fall,) if fall else ()

    def full(n: int, dilation: tuple[int, int] = (1, 1)) -> tuple[Stage, ...]:
        return full_size(epochs=n, lr=1e-3, milestones=milestones(n), dilation=dilation)

    two_stage = itsl(ITERATIONS, epochs=epochs, lr=1e-3, milestones=milestones(epochs))
    return {
        "full": full(epochs),
        "itsl": two_stage,
        "full_same_compute": full(max(round(total_cost(two_stage)), 1)),
        "full_dilated": full(epochs, (2, 2)),
    }


def layers() -> list[str]:
    """The paper's layers, then those that were added to the catalog."""
    # Here, so that tables and figures need no torch.
    from suites.engine import catalog

    return style.in_order([*LAYERS, *catalog.LAYERS])


def spec(suite: str, request: Request, manifest: str, layer: str, **own: Any) -> RunSpec:
    """A run of kth_cnn with a layer in the setting of §3.1; see `Request.spec`."""
    asked = dict(request.layer_options.get(layer, {}))
    setting = {
        "dataset_options": dataset_options(request),
        "model": "kth_cnn",
        "layer": layer,
        "layer_options": LAYER_OPTIONS.get(layer, {}) | asked,
        "batch_size": PROFILES[request.profile].batch_size,
    }
    return request.spec(suite, manifest, **setting | own)


def specs(request: Request, manifest: str, suite: str = "kth_table2") -> list[RunSpec]:
    """The paper's rows seed by seed, then the controls, the cheaper ones first.

    So a table that is not finished is a whole one of fewer seeds.
    """
    profile = PROFILES[request.profile]
    by_mode = schedules(request.epochs or profile.epochs, profile.rate_falls_after)
    return [
        spec(
            suite,
            request,
            manifest,
            layer,
            mode=mode,
            stages=by_mode[mode],
            seed=seed,
            published=PUBLISHED,
        )
        for modes in (MODES, *((control,) for control in reversed(CONTROLS)))
        for seed in request.each_seed(profile.seeds)
        for mode in modes
        for layer in layers()
    ]
