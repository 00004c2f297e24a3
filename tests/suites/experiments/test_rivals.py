"""rivals: like is compared with like, batches are the largest that fit, tables say what is so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from stdcf.memory.predict import Predictor
from stdcf.models import create_model
from stdcf.stages.stage import total_cost
from suites import run
from suites.engine.catalog import layer_by_name
from suites.engine.store.folder import run_folders
from suites.engine.suite import Request
from suites.experiments.rivals import suite as rivals
from suites.experiments.rivals.figure import draw
from suites.experiments.rivals.suite import LAYERS, SUITE
from suites.experiments.rivals.tables import tables
from suites.experiments.rivals.techniques import (
    BATCHES,
    CAPS,
    ITSL,
    MIB,
    UNCAPPED,
    for_layer,
    techniques,
)
from suites.experiments.shared import kth
from suites.experiments.shared.rates import rate

FOLDS = ("fold-eli", "fold-ira", "fold-lena")


def specs(profile: str = "half", **options: Any) -> list[Any]:
    request = Request(**{"profile": profile, "dataset": "weizmann"} | options)
    return SUITE.specs(request, "0" * 64)


def peak_bytes(predictor: Predictor, spec: Any, batch: int) -> int:
    shape = (batch, 1, 16, *kth.PROFILES[spec.profile].size)
    steps = {
        (member.clip_shape(shape), member.norm_parts): member
        for stage in spec.stages
        for member in stage.members()
    }
    return max(
        predictor.peak(
            shape, stage=step, savers=spec.techniques, memory_format="channels_last_3d"
        ).peak_bytes
        for step in steps.values()
    )


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["half", "paper"])
@pytest.mark.parametrize("layer", LAYERS)
def test_each_technique_has_the_largest_batch_that_fits(profile: str, layer: str) -> None:
    conv = layer_by_name(layer, kth.LAYER_OPTIONS.get(layer, {}))
    predictor = Predictor(lambda: create_model("kth_cnn", conv=conv, num_classes=10), "cpu")
    most, cap = kth.PROFILES[profile].batch_size, CAPS[profile]
    of_layer = {spec.mode: spec for spec in specs(profile, folds=1) if spec.layer == layer}
    assert peak_bytes(predictor, of_layer.pop(UNCAPPED), most) > cap
    for mode, spec in of_layer.items():
        assert spec.batch_size == BATCHES[profile][mode] <= most
        assert peak_bytes(predictor, spec, spec.batch_size) <= cap, mode
        if spec.batch_size < most:
            assert peak_bytes(predictor, spec, spec.batch_size + 1) > cap, mode


# Whole epochs, of which the quick profile has few.
@pytest.mark.parametrize(
    ("profile", "epochs", "rel"), [("quick", 2, 0.15), ("half", 20, 0.03), ("paper", 40, 0.02)]
)
def test_all_compute_as_much_as_itsl(profile: str, epochs: int, rel: float) -> None:
    for spec in specs(profile, folds=1):
        step = 4 / 3 if spec.mode == "checkpoint" else 1
        assert step * total_cost(spec.stages) == pytest.approx(2.25 * epochs, rel=rel), spec.mode


def test_a_whole_fold_comes_before_the_next() -> None:
    found = specs(folds=3)
    folds = [spec.fold for spec in found]
    assert folds == sorted(folds, key=folds.index)
    assert len({*folds}) == 3
    of_fold = [(spec.layer, spec.mode) for spec in found if spec.fold == folds[0]]
    assert of_fold == [(layer, mode) for layer in LAYERS for mode in for_layer("half", layer)]
    assert "itsl_paper_rates" not in for_layer("half", "regular")
    assert {spec.seed for spec in specs(dataset="jhmdb")} == {0, 1, 2}


@pytest.mark.parametrize("mode", [ITSL, UNCAPPED])
def test_itsl_and_full_size_are_trained_as_table_2s(mode: str) -> None:
    def trained(found: list[Any]) -> set[str]:
        own = [spec for spec in found if spec.layer in LAYERS and spec.mode == mode]
        return {spec.training_id for spec in own}

    request = Request("half", "weizmann", folds=2)
    theirs = kth.specs(request, "0" * 64, persons=kth.folds(request))
    assert trained(specs(folds=2)) == trained(theirs)
    assert len(trained(theirs)) == 4


def test_rates_are_the_sweeps_scaled_with_the_root_of_the_batch() -> None:
    full, small = (rate("regular", mode, "lena") for mode in ("full", "itsl"))
    assert full.lr != small.lr
    [person] = {spec.fold for spec in specs() if "lena" in str(spec.fold)}
    own = {spec.mode: spec for spec in specs() if spec.fold == person and spec.layer == "regular"}
    assert own["accumulate"].stages[0].lr == full.lr
    assert own["smaller_batch"].stages[0].lr == pytest.approx(full.lr * 0.5**0.5)
    # As many small clips as Table 2's batch, then half as many at a tenth of the rate.
    half, then = own["half_size"].stages
    assert half.lr == pytest.approx(small.lr)
    assert then.lr == pytest.approx(0.1 * full.lr * 0.5**0.5)
    # Four clips times 8, 4, 2 and 1, found with 8.
    factors = [stage.lr / small.lr for stage in own["multigrid"].stages[:4]]
    assert factors == pytest.approx([4**0.5, 2**0.5, 1, 0.5**0.5])
    assert own["multigrid"].stages[4].lr == pytest.approx(full.lr * 0.5**0.5)


def row(layer: str, mode: str, fold: str, accuracy: float) -> dict[str, Any]:
    return {
        **{"layer": layer, "mode": mode, "fold": fold, "seed": 0, "status": "ok"},
        **{"profile": "half", "dataset": "weizmann", "dtype": "float32", "shipped": False},
        **{"accuracy": accuracy / 2, "recalibrated_accuracy": accuracy, "reason": None},
        **{"video_accuracy": accuracy, "measured_peak_bytes": (30 - len(mode)) * MIB},
        **{"train_clips": 1000, "full_size_epochs": 30, "executed_macs": 10**8, "batch_size": 4},
        **{"train_seconds": 90.0 + len(mode), "commit": "a" * 40, "dirty": False},
        **{"device": "cpu", "finished": "2026-11-29T10:00:00Z", "epochs_per_stage": 3},
    }


def rows() -> list[dict[str, Any]]:
    accuracies = {ITSL: (0.7, 0.5, 0.6), "checkpoint": (0.8, 0.7, 0.65), UNCAPPED: (0.8, 0.7, 0.9)}
    return [
        row(layer, mode, fold, value)
        for layer in LAYERS
        for mode, values in accuracies.items()
        for fold, value in zip(FOLDS, values, strict=True)
    ]


def test_the_table_says_what_the_rows_say() -> None:
    results, tests = tables(rows())
    lines = {
        (cells[0], cells[1]): dict(zip(results.columns, cells, strict=True))
        for cells in results.rows
    }
    found = lines["Reg. 3D", techniques("half")["checkpoint"].name]
    assert found["Peak, MiB"] == "20.0"
    assert found["Fits"] == "yes"
    # 30 full-size epochs of 1000 clips, three passes of 1e8, and a third more.
    assert found["10¹² multiplications"] == "12.0"
    assert found["n"] == "3"
    expected = stats.ttest_1samp([10, 20, 5], 0)
    low, high = expected.confidence_interval(0.95)
    assert found["vs ITSL"] == f"+11.67 ± {(high - low) / 2:.2f}"
    assert lines["STDCF", techniques("half")[ITSL].name]["vs ITSL"] == ""
    assert lines["Reg. 3D", "full size, no cap"]["Fits"] == "yes"
    assert [cells[0] for cells in tests.rows] == [
        f"{layer}: {name} − ITSL"
        for layer in ("Reg. 3D", "STDCF")
        for name in ("full size, no cap", "full size, checkpoint")
    ]
    assert tests.rows[1][3] == f"{expected.pvalue:.3f}"
    # Holm: none below the smallest of the four, times four.
    smallest = stats.ttest_1samp([10, 20, 30], 0).pvalue
    assert [line[4] for line in tests.rows] == 4 * [f"{4 * smallest:.3f}"]
    assert len(tables(rows()[:2])) == 1


def test_the_figure_shows_what_ended_well(tmp_path: Path) -> None:
    assert [path.name for path in draw(rows(), tmp_path)] == ["rivals.png", "rivals.svg"]
    assert draw([], tmp_path) == []
    failed = [{**one, "status": "nan"} for one in rows()]
    assert draw(failed[:5] + rows()[:1], tmp_path) == []


@pytest.mark.slow
def test_every_technique_trains_and_ends_at_full_size(
    call: Any,
    video_root: Path,
    small_suite_here: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def small(request: Request) -> dict[str, Any]:
        return {"size": [16, 16], "train_step": 24}

    monkeypatch.setattr(kth, "dataset_options", small)
    monkeypatch.setattr(rivals, "LAYERS", ("stdcf",))
    monkeypatch.setattr(rivals, "SUITE", replace(SUITE, dataset_options=small))
    asked = ["rivals", "--dataset", "video_folder", "--data-root", video_root, "--epochs", "1"]
    code, out, err = call(run, *asked, "--results", tmp_path / "results", "--workers", "1")
    assert (code, err) == (0, ""), out
    folders = run_folders(tmp_path / "results")
    found = [folder.result() for folder in folders]
    assert {(one["layer"], one["mode"]) for one in found if one} == {
        ("stdcf", mode) for mode in for_layer("quick", "stdcf")
    }
    assert {folder.path.parent.name for folder in folders} == {"video_folder-quick-epochs1"}
    for one in found:
        # There may be fewer clips than a batch.
        assert one["measured_peak_bytes"] <= 1.01 * one["predicted_peak_bytes"]
        assert one["recalibrated_accuracy"] is not None
        assert "16×16×16" in one["train_shapes"] or one["mode"].startswith("itsl")
    assert "full size, stochastic=0.25" in out
