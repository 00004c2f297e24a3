"""The setting of §3.1 on KTH: networks, profiles, schedules and runs that several suites share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stdcf.errors import UserError
from stdcf.stages.stage import Stage, full_size, itsl, total_cost
from suites.engine.spec import PublishedSetting, RunSpec
from suites.engine.suite import Request
from suites.experiments.shared.rates import PAPER, PERSONS, Rate, rate
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
    folds: Table 2 on Weizmann leaves out one person in turn.
    recalibrate: see `Stage`.
    """

    size: tuple[int, int]
    epochs: int
    seeds: int
    batch_size: int = 16
    rate_falls_after: float = 0.5
    folds: bool = False
    recalibrate: bool = True


PROFILES = {
    # Half of the paper's height and width and few, small steps: the whole table in minutes.
    "quick": Profile((30, 40), epochs=5, seeds=1, batch_size=8, rate_falls_after=0.8),
    # The quick profile's clips, trained until the accuracy rests: docs/protocol.md.
    "half": Profile((30, 40), epochs=20, seeds=1, batch_size=8, rate_falls_after=0.75, folds=True),
    # §3.1: 16×60×80 clips, 40 epochs, the rate divided by ten at epoch 20.
    "paper": Profile((60, 80), epochs=40, seeds=3, folds=True),
}


# Of three official splits each, over which their papers average.
SPLIT_SETS = ("jhmdb", "ucf101", "hmdb51")
SPLITS = (1, 2, 3)
DATASETS = (
    *("synthetic_actions", "kth", "weizmann", *SPLIT_SETS),
    *("video_folder", "video_list"),
)


def dataset_options(request: Request) -> dict[str, Any]:
    """Clip size of the profile; the quick profile takes the small synthetic set."""
    options: dict[str, Any] = {"size": list(PROFILES[request.profile].size)}
    if request.dataset == "synthetic_actions":
        options["variant"] = "quick" if request.profile == "quick" else "full"
    return options | dict(request.data_options)


def schedules(
    epochs: int,
    rate_falls_after: float = 0.5,
    *,
    full_rate: Rate = PAPER,
    itsl_rate: Rate = PAPER,
    recalibrate: bool = False,
) -> dict[str, tuple[Stage, ...]]:
    """Mode -> stages. The rate falls to a tenth after half of a stage's epochs, as in the paper."""

    def options(rate: Rate, n: int) -> dict[str, Any]:
        fall = int(n * rate_falls_after)
        falls = (fall,) if fall else ()
        own = {"milestones": falls, "recalibrate": recalibrate}
        return {"epochs": n, "lr": rate.lr, "atom_lr": rate.atom_lr, **own}

    def full(n: int, dilation: tuple[int, int] = (1, 1)) -> tuple[Stage, ...]:
        return full_size(dilation=dilation, **options(full_rate, n))

    two_stage = itsl(ITERATIONS, **options(itsl_rate, epochs))
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


def folds(request: Request) -> tuple[str | None, ...]:
    """The persons to leave out, or the official splits; (None,) for the data set's own split.

    Raises:
        UserError: if folds are asked for that there are not.
    """
    asked = request.folds
    if request.dataset in SPLIT_SETS:
        return _splits(request)
    if request.dataset != "weizmann":
        if asked is not None:
            raise UserError(
                f"--folds is for weizmann's persons and the splits of {', '.join(SPLIT_SETS)}; "
                f"{request.dataset} has a split"
            )
        return (None,)
    if "test_persons" in request.data_options:
        if asked is not None:
            raise UserError(
                "--folds chooses the test persons: leave out --data-option test_persons"
            )
        return (None,)
    if asked is None and not PROFILES[request.profile].folds:
        return (None,)
    if asked is not None and asked > len(PERSONS):
        raise UserError(f"--folds must be at most {len(PERSONS)}, a person each, not {asked}")
    return PERSONS[:asked]


def _splits(request: Request) -> tuple[str | None, ...]:
    asked = request.folds
    if asked is None:
        return (None,)
    if "split" in request.data_options:
        raise UserError("--folds chooses the splits: leave out --data-option split")
    if asked > len(SPLITS):
        raise UserError(f"--folds must be at most {len(SPLITS)}, a split each, not {asked}")
    return tuple(f"split{split}" for split in SPLITS[:asked])


def clips(request: Request, person: str | None) -> dict[str, Any]:
    """The data set's options where this person is left out, or of this split; None: nobody."""
    fold: dict[str, Any] = {} if person is None else {"test_persons": f"fold-{person}"}
    if person is not None and person.startswith("split"):
        fold = {"split": int(person.removeprefix("split"))}
    return dataset_options(request) | fold


def rate_of(request: Request, layer: str, mode: str, person: str | None = None) -> Rate:
    """What the sweep found or, with --option rates=paper, 1e-3 for everything.

    Raises:
        UserError: for other words.
    """
    asked = request.options.get("rates", "found")
    if asked not in ("found", "paper"):
        raise UserError(f"--option rates must be found or paper, not {asked!r}")
    return PAPER if asked == "paper" else rate(layer, mode, person)


def specs(
    request: Request,
    manifest: str,
    suite: str = "kth_table2",
    persons: Sequence[str | None] = (None,),
) -> list[RunSpec]:
    """The paper's rows seed by seed and fold by fold, then a control after the other.

    So a table that is not finished is a whole one of fewer seeds or folds.

    Args:
        persons: whom the folds leave out; None is the data set's own split.
    """
    profile = PROFILES[request.profile]
    names = layers()
    stages = {
        (layer, person): schedules(
            request.epochs or profile.epochs,
            profile.rate_falls_after,
            full_rate=rate_of(request, layer, "full", person),
            itsl_rate=rate_of(request, layer, "itsl", person),
            recalibrate=profile.recalibrate,
        )
        for layer in names
        for person in persons
    }
    # On folds the control that the protocol compares comes before the cheaper one.
    controls = CONTROLS if None not in persons else tuple(reversed(CONTROLS))
    return [
        spec(
            suite,
            request,
            manifest,
            layer,
            dataset_options=clips(request, person),
            mode=mode,
            stages=stages[layer, person][mode],
            seed=seed,
            published=PUBLISHED,
        )
        for modes in (MODES, *((name,) for name in controls))
        for seed in request.each_seed(profile.seeds)
        for person in persons
        for mode in modes
        for layer in names
    ]
