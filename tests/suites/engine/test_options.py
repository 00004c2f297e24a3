"""Every suite and every option of suites.run: it is in the runs, or it is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from suites.engine.registry import SUITES, get_suite
from suites.engine.request import make_request
from suites.engine.spec import NO_DATA, RunSpec

TRAINED = {"--seeds", "--epochs", "--cap", "--amp", "--device"}
TRAINED |= {"--data-option", "--model-option", "--layer-option"}
# Suites of kth_cnn that leave out one person of Weizmann in turn.
FOLDS = ("kth_table1", "kth_table2", "kth_tempo", "kth_attention", "tempo_sweep")
FOLDS += ("atoms_ablation", "itsl_ablation")
# Suite and data set -> what it takes; the first data set of the suite where none is named.
TAKES: dict[tuple[str, str | None], set[str]] = {
    **{(name, None): TRAINED | {"--ranks"} for name in SUITES},
    ("capacity", None): TRAINED,
    ("estimators", None): set(),
    ("gpu_evidence", None): {"--device"},
    ("gpu_evidence", "weizmann"): TRAINED,
    ("layer_speed", None): {"--seeds", "--device"},
    ("memory_caps", None): TRAINED - {"--amp"},
    **{
        (name, dataset): TRAINED | {"--ranks", "--folds"}
        for name in FOLDS
        for dataset in (None, "weizmann")
    },
    ("rate_sweep", None): TRAINED - {"--cap"},
    ("reduction", None): set(),
    **{
        ("rivals", dataset): (TRAINED | {"--folds"}) - {"--cap", "--amp"}
        for dataset in (None, "weizmann")
    },
    ("synthetic_card", None): (TRAINED | {"--ranks"}) - {"--amp"},
    ("tr_mnist", None): TRAINED,
}
GIVEN: dict[str, dict[str, Any]] = {
    "--seeds": {"seeds": 2},
    "--epochs": {"epochs": 3},
    "--cap": {"cap": "3GiB"},
    "--amp": {"amp": True},
    "--device": {"device": "cuda:1", "cluster_device": "cuda:1"},
    "--ranks": {"ranks": 2},
    "--folds": {"folds": 2},
    "--data-option": {"data_options": ["probe=7"]},
    "--model-option": {"model_options": ["kernel_size=5"]},
    "--layer-option": {"layer_options": ["stdcf.plan=factored", "regular.probe=7"]},
}
IN_RUN: dict[str, Callable[[RunSpec], bool]] = {
    "--epochs": lambda spec: spec.epochs_override == 3,
    "--cap": lambda spec: spec.cap_bytes == 3 * 2**30,
    "--amp": lambda spec: spec.amp,
    "--device": lambda spec: spec.device == "cuda",
    "--folds": lambda spec: spec.dataset_options["test_persons"].startswith("fold-"),
    # The session gives them to every run that trains.
    "--ranks": lambda spec: spec.is_training,
    "--data-option": lambda spec: spec.dataset_options["probe"] == 7,
    "--model-option": lambda spec: spec.model_options["kernel_size"] == 5,
    "--layer-option": lambda spec: (
        spec.layer not in ("stdcf", "regular")
        or spec.layer_options.get("plan") == "factored"
        or spec.layer_options.get("probe") == 7
    ),
}


@pytest.mark.parametrize("flag", GIVEN)
@pytest.mark.parametrize(("name", "dataset"), TAKES)
def test_an_option_is_in_the_runs_or_refused(name: str, dataset: str | None, flag: str) -> None:
    suite = get_suite(name)
    words = GIVEN[flag]
    if name == "tr_mnist" and flag == "--layer-option":
        # Its widths are found by building the layers.
        words = {"layer_options": ["stdcf.plan=factored"]}
    if flag not in TAKES[name, dataset]:
        with pytest.raises(UserError, match=f"^{name} takes no {flag}[: ]") as refused:
            make_request(suite, None, dataset, **words)
        assert "\n" not in str(refused.value)
        return
    request = make_request(suite, None, dataset, **words)
    if flag == "--folds" and dataset is None:
        # Its first data set has a split of its own.
        with pytest.raises(UserError, match="--folds is for weizmann's persons"):
            suite.specs(request, "ab" * 32)
        return
    specs = suite.specs(request, "ab" * 32)
    if flag == "--seeds":
        assert {spec.seed for spec in specs if spec.stages or name == "layer_speed"} == {0, 1}
        return
    # Plans and predictions stand beside what is trained.
    asked = [spec for spec in specs if spec.stages] or specs
    if name == "tr_mnist" and flag == "--layer-option":
        asked = [spec for spec in asked if spec.layer == "stdcf"]
    assert all(IN_RUN[flag](spec) for spec in asked)


def test_a_video_takes_the_place_of_all_that_is_for_training(tmp_path: Path) -> None:
    suite = get_suite("kinetics_gradcam")
    video = tmp_path / "video.avi"
    for flag in sorted(GIVEN.keys() - {"--amp", "--device"}):
        with pytest.raises(UserError, match=f"takes no {flag} without a --dataset: of a video"):
            make_request(suite, None, None, video=video, **GIVEN[flag])
    asked = GIVEN["--device"] | {"amp": True}
    request = make_request(suite, None, None, video=video, **asked)
    assert (request.dataset, request.device, request.amp) == (NO_DATA, "cuda:1", True)


def test_options_without_an_effect_are_refused() -> None:
    suite = get_suite("layer_speed")
    with pytest.raises(
        UserError, match="layer_speed reads no data set here: leave out --data-root"
    ):
        make_request(suite, None, None, data_root=Path("data"))
    with pytest.raises(UserError, match="--no-sync-batchnorm is for --ranks above 1"):
        make_request(get_suite("kth_table2"), None, None, sync_batchnorm=False)
    # A cluster's GPUs are not what the user asked for.
    assert make_request(get_suite("reduction"), None, None, cluster_device="cuda:0").device == "cpu"
