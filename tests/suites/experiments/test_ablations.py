"""The ablations: each run changes one thing, and says what; tables and figures from rows alone."""

from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from stdcf.stages.stage import total_cost
from suites.engine.catalog import build
from suites.engine.spec import RunSpec
from suites.engine.suite import Request
from suites.experiments.atoms_ablation import suite as atoms_ablation
from suites.experiments.itsl_ablation import suite as itsl_ablation
from suites.experiments.shared import kth
from suites.experiments.shared.rates import Rate
from suites.reporting.comparisons import comparison_table
from suites.tables.table import Table

REQUEST = Request("paper", "weizmann", epochs=10, folds=1)
SUITES = {"itsl_ablation": itsl_ablation, "atoms_ablation": atoms_ablation}


@pytest.fixture(autouse=True)
def _atoms_have_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kth, "rate", lambda *_: Rate(2e-3, 10.0))


def by_mode(module: Any, request: Request = REQUEST) -> dict[str, RunSpec]:
    runs = module.SUITE.specs(request, "0" * 64)
    return {run.mode: run for run in runs if run.seed == 0}


@pytest.mark.parametrize("name", SUITES)
def test_every_setting_is_a_run_of_its_own(name: str) -> None:
    module = SUITES[name]
    runs = module.SUITE.specs(REQUEST, "0" * 64)
    assert [run.mode for run in runs] == list(module.WORDS) * 3
    assert len({run.run_id for run in runs}) == len(runs)
    # The base is that of Table 2, and the tests between rows compare the others with it.
    base = runs[0]
    (same,) = (
        run
        for run in kth.specs(REQUEST, "0" * 64, persons=kth.folds(REQUEST))
        if (run.layer, run.mode, run.seed) == ("stdcf", "itsl", 0)
    )
    assert (base.stages, base.layer_options) == (same.stages, same.layer_options)
    assert sorted(module.WORDS)[0] == "base"


@pytest.mark.parametrize("name", SUITES)
def test_every_fold_is_whole_before_the_next(name: str) -> None:
    module = SUITES[name]
    runs = module.SUITE.specs(Request("half", "weizmann", folds=2), "0" * 64)
    assert [run.mode for run in runs] == list(module.WORDS) * 2
    assert [run.fold for run in runs[:: len(module.WORDS)]] == ["fold-daria", "fold-denis"]
    assert len({run.folder_name for run in runs}) == len(runs)


def test_what_is_the_same_run_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kth, "rate", lambda *_: kth.PAPER)
    missing = set(atoms_ablation.WORDS) - set(by_mode(atoms_ablation))
    assert missing == {"rate_one", "rate_dct"}


def test_settings_of_one_rate_leave_atoms_without_a_factor() -> None:
    runs = by_mode(atoms_ablation)
    one_rate = {mode for mode, run in runs.items() if {s.atom_lr for s in run.stages} == {1.0}}
    assert one_rate == {mode for mode in runs if mode.startswith("rate_")}
    assert {stage.lr for run in runs.values() for stage in run.stages} == {2e-3}
    assert runs["rate_balanced"].layer_options["init"] == "balanced"


def test_itsl_settings_change_what_they_say() -> None:
    runs = by_mode(itsl_ablation)
    base = runs["base"].stages
    assert [stage.name for stage in runs["order_st"].stages] == ["s1", "t1", "s2", "t2", "s3", "t3"]
    assert set(runs["order_st"].stages) == set(base)
    assert {stage.dilation for stage in runs["dilation_off"].stages} == {(1, 1)}
    assert {stage.test_dilation for stage in runs["dilation_off"].stages} == {(1, 1)}
    assert {stage.trains for stage in runs["trains_atoms_s"].stages} == {
        ("temporal", "joint"),
        ("spatial",),
    }
    assert {stage.trains for stage in runs["trains_joint"].stages} == {("joint",)}
    beta4 = runs["beta4"].stages
    assert (beta4[0].spatial_scale, beta4[0].dilation) == (0.25, (2, 1))
    assert (beta4[1].temporal_stride, beta4[1].dilation) == (2, (1, 4))
    gamma4 = runs["gamma4"].stages
    assert (gamma4[0].dilation, gamma4[1].temporal_stride) == ((4, 1), 4)
    assert {stage.test_dilation for stage in gamma4} == {(4, 2)}
    for mode, stages in (("e1", 2), ("e2", 4), ("e4", 8), ("e5", 10)):
        assert len(runs[mode].stages) == stages
    # E · (1/4 + 1/2) full-size epochs an epoch; whole epochs of full size.
    assert total_cost(base) == 22.5
    assert total_cost(runs["e1_compute"].stages) == 22.5
    assert total_cost(runs["full_compute"].stages) == 22


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_fewest_epochs_work(epochs: int) -> None:
    for module in SUITES.values():
        runs = by_mode(module, Request("quick", "weizmann", epochs=epochs, seeds=1))
        assert list(runs) == list(module.WORDS)


def test_atoms_settings_change_what_they_say() -> None:
    runs = by_mode(atoms_ablation)
    params = {
        mode: sum(
            parameter.numel()
            for parameter in build(
                "kth_cnn",
                num_classes=10,
                in_channels=1,
                layer=run.layer,
                layer_options=run.layer_options,
                **run.model_options,
            ).parameters()
        )
        for mode, run in runs.items()
    }
    pairs = 16 + 16 * 32 + 32 * 64
    for mode, (m, n) in {"m1n1": (1, 1), "m9n3": (9, 3), "m6n2": (6, 2), "m3n1": (3, 1)}.items():
        more = pairs * (m * n - 6) + 3 * (9 * (m - 3) + 3 * (n - 2))
        assert params[mode] - params["base"] == more
    assert params["base"] - params["shared"] == 2 * (27 + 6)
    assert {runs[mode].layer_options["init"] for mode in runs if mode.startswith("init_")} == {
        "dct",
        "fourier_bessel",
        "normal",
    }
    frozen = runs["frozen_fourier_bessel"]
    assert {stage.trains for stage in frozen.stages} == {("joint",)}


def row(mode: str, seed: int, accuracy: float) -> dict[str, Any]:
    return {
        "profile": "paper",
        "dataset": "weizmann",
        "layer": "stdcf",
        "mode": mode,
        "seed": seed,
        "status": "ok",
        "reason": None,
        "accuracy": accuracy,
        "video_accuracy": accuracy,
        "shipped": False,
        "finished": "2026-11-26T10:00:00Z",
        "commit": "a" * 40,
        "dirty": False,
        "device": "cuda X",
        "dtype": "float32",
        "clip_shape": [1, 16, 60, 80],
        "train_clips": 720,
        "test_clips": 148,
        "epochs_per_stage": 10,
        "params": 16281,
        "train_seconds": 3.0,
    }


@pytest.mark.parametrize("name", SUITES)
def test_tables_and_figure_come_from_rows_alone(name: str, tmp_path: Path) -> None:
    suite, words = SUITES[name].SUITE, SUITES[name].WORDS
    other = list(words)[1]
    rows = [
        *(row("base", s, 0.8 + 0.02 * s) for s in range(3)),
        *(row(other, s, 0.7) for s in range(3)),
    ]
    [table] = suite.tables(rows)
    lines = {tuple(line[:2]): dict(zip(table.columns, line, strict=True)) for line in table.rows}
    base = lines[words["base"].group, words["base"].label]
    # Deviation 2 of three: 4.303 · 2 / √3.
    assert (base["Clip acc., %"], base["vs Table 2's"]) == ("82.00 ± 4.97", "")
    changed = lines[words[other].group, words[other].label]
    assert changed["vs Table 2's"] == "-12.00 ± 4.97"
    assert len(lines) == len(words)
    missing = next(mode for mode in words if mode not in ("base", other))
    assert lines[words[missing].group, words[missing].label]["Clip acc., %"] == "not run"
    tested = comparison_table(rows)
    assert isinstance(tested, Table)
    assert tested.rows[0][:3] == [f"STDCF {other}", "STDCF base", "-12.00 ± 4.97"]
    drawn = suite.figures(rows, tmp_path)
    assert [path.name for path in drawn] == [f"{name}.png", f"{name}.svg"]
    assert suite.figures([], tmp_path) == []
    assert all(line[2] == "not run" for line in suite.tables([])[0].rows)


def test_no_seed_is_refused() -> None:
    with pytest.raises(UserError, match="--seeds must be at least 1"):
        itsl_ablation.SUITE.specs(Request("quick", "weizmann", seeds=0), "0" * 64)
