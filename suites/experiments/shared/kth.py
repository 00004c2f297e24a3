"""The setting of §3.1 on KTH: networks, profiles, schedules and runs that several suites share."""

from dataclasses import dataclass

from stdcf.errors import UserError
from stdcf.stages.stage import Stage, full_size, itsl, total_cost
from suites.engine.spec import PublishedSetting, RunSpec
from suites.engine.suite import Request
from suites.reporting.figures import style

ITERATIONS = 3


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


def dataset_options(request: Request) -> dict[str, object]:
    """Clip size of the profile; the quick profile takes the small synthetic set."""
    options: dict[str, object] = {"size": list(PROFILES[request.profile].size)}
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


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """The paper's rows seed by seed, then the controls, the cheaper ones first.

    So a table that is not finished is a whole one of fewer seeds.
    """
    # Here, so that tables and figures need no torch.
    from suites.engine import catalog

    layers = style.in_order([*LAYERS, *catalog.LAYERS])
    profile = PROFILES[request.profile]
    by_mode = schedules(request.epochs or profile.epochs, profile.rate_falls_after)
    num_seeds = profile.seeds if request.seeds is None else request.seeds
    if num_seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {num_seeds}")
    return [
        RunSpec(
            suite="kth_table2",
            profile=request.profile,
            dataset=request.dataset,
            dataset_options=dataset_options(request),
            manifest=manifest,
            model="kth_cnn",
            layer=layer,
            model_options=dict(request.model_options),
            layer_options=LAYER_OPTIONS.get(layer, {}) | dict(request.layer_options.get(layer, {})),
            mode=mode,
            stages=by_mode[mode],
            seed=seed,
            batch_size=profile.batch_size,
            amp=request.amp,
            device="cuda" if request.device.startswith("cuda") else "cpu",
            epochs_override=request.epochs,
            overrides=request.overrides,
            cap_bytes=request.cap_bytes,
            published=PUBLISHED,
        )
        for modes in (tuple(MODES), *((control,) for control in reversed(tuple(CONTROLS))))
        for seed in range(num_seeds)
        for mode in modes
        for layer in layers
    ]


LAYERS = ("regular", "rank1", "stdcf")


MODES = ("full", "itsl")


CONTROLS = ("full_same_compute", "full_dilated")
