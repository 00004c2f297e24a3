"""Networks under other conditions: what each suite asks, training done once, rows to tables."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from stdcf import set_dilation
from stdcf.errors import UserError
from stdcf.training.checkpoint import load_checkpoint
from suites.engine import trained
from suites.engine.catalog import build_model
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request, Row
from suites.engine.task import Run
from suites.experiments.kth_table1 import suite as kth_table1
from suites.experiments.kth_tempo import suite as kth_tempo
from suites.experiments.shared import kth
from suites.experiments.shared.conditions_task import measure
from suites.experiments.tempo_sweep import suite as tempo_sweep
from suites.reporting.pictures import unpacked
from suites.tables.table import Table

MODULES = {"kth_table1": kth_table1, "kth_tempo": kth_tempo, "tempo_sweep": tempo_sweep}
SMALL = {"size": [16, 16], "clip_frames": 8, "train_step": 1}


def request(**changes: Any) -> Request:
    return Request(**{"profile": "paper", "dataset": "weizmann", "epochs": 4, **changes})


def runs(name: str, **changes: Any) -> list[RunSpec]:
    found: list[RunSpec] = MODULES[name].specs(request(**changes), "0" * 64)
    return found


def test_full_size_learning_is_table_2s() -> None:
    """So that its weights serve all of these."""
    wanted = {
        (run.layer, run.fold, run.seed): run.training_id
        for run in kth.specs(request(), "0" * 64, persons=kth.folds(request()))
        if run.mode == "full"
    }
    for name in MODULES:
        own = {(r.layer, r.fold, r.seed): r.training_id for r in runs(name) if r.mode == "full"}
        assert own == wanted, name
    dilated = {
        name: {
            (r.layer, r.fold, r.seed): r.training_id for r in runs(name) if r.mode == "dilated_time"
        }
        for name in MODULES
    }
    assert dilated["kth_table1"] == dilated["kth_tempo"] == dilated["tempo_sweep"]
    assert not set(wanted.values()) & set(dilated["kth_tempo"].values())


@pytest.mark.parametrize("name", MODULES)
def test_runs_are_different_and_their_names_unique(name: str) -> None:
    found = runs(name)
    assert len({run.run_id for run in found}) == len({run.folder_name for run in found})
    assert len(found) == len({run.training_id for run in found})
    for run in found:
        names = [condition["name"] for condition in run.options["conditions"]]
        assert len(set(names)) == len(names)
    with pytest.raises(UserError, match="--seeds must be at least 1"):
        runs(name, seeds=0)


def test_table_1_asks_what_the_paper_asks() -> None:
    by_mode = {run.mode: run for run in runs("kth_table1") if run.layer == "stdcf"}

    def asked(mode: str, condition: str) -> dict[str, Any]:
        (found,) = (c for c in by_mode[mode].options["conditions"] if c["name"] == condition)
        return dict(found)

    (half,) = by_mode["half_size"].stages
    assert half.clip_shape((1, 16, 60, 80)) == (1, 16, 30, 40)
    assert asked("half_size", "plain")["dilation"] == [1, 1]
    assert asked("half_size", "dilated")["dilation"] == [1, 2]
    assert by_mode["dilated_time"].stages[0].dilation == (2, 1)
    for mode, condition in (("full", "plain"), ("dilated_time", "dilated")):
        test = asked(mode, condition)
        assert (test["dilation"], test["tempo"]) == ([1, 1], 2)


def test_the_sweep_matches_dilation_and_tempo() -> None:
    for run in runs("tempo_sweep"):
        trained_at = run.stages[0].dilation[0]
        for test in run.options["conditions"]:
            dilation, _ = test["dilation"]
            kept = test["name"].startswith("kept")
            assert dilation == (trained_at if kept else trained_at / test["tempo"])


def small(spec: RunSpec, root: Path, results: Path, **changes: Any) -> RunFolder:
    """The run on a few small clips, for one epoch."""
    from suites.engine.catalog import load_dataset

    data = load_dataset("video_folder", str(root), **SMALL)
    own = {"dataset": "video_folder", "dataset_options": SMALL, "manifest": data.manifest}
    stages = tuple(s.model_copy(update={"epochs": 1, "milestones": ()}) for s in spec.stages)
    return RunFolder.create(results, spec.model_copy(update={**own, "stages": stages, **changes}))


def run_it(folder: RunFolder, root: Path) -> dict[str, Any]:
    row = measure(Run(folder, data_root=str(root), num_workers=0))
    folder.write_result({"suite": folder.spec().suite, **row})
    return row


def test_training_is_done_once(
    video_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_env: dict[str, str]
) -> None:
    monkeypatch.setenv("STDCF_CACHE", small_env["STDCF_CACHE"])
    dilated = {
        name: next(r for r in runs(name) if (r.layer, r.mode) == ("stdcf", "dilated_time"))
        for name in ("kth_table1", "kth_tempo")
    }
    first = small(dilated["kth_table1"], video_root, tmp_path / "results")
    one = run_it(first, video_root)
    assert one["trained_by"] is None
    second = small(dilated["kth_tempo"], video_root, tmp_path / "results")
    other = run_it(second, video_root)
    assert other["trained_by"] == first.spec().folder_name
    assert other["train_seconds"] == one["train_seconds"]
    weights = [load_checkpoint(f.path / "stage-full.pt") for f in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (first.path / "curves.csv").read_text() == (second.path / "curves.csv").read_text()

    # The same conditions have the same answers, whichever run asked.
    by_name = [{c["name"]: c["accuracy"] for c in row["conditions"]} for row in (one, other)]
    assert by_name[0]["own"] == by_name[1]["reference"]
    assert by_name[0]["dilated"] == by_name[1]["swapped"]
    assert one["accuracy"] is None

    # Maps: the first two convolutions see the same moments, and pictures are of the reference.
    swapped, kept = (list(other["similarities"][name].values()) for name in ("swapped", "kept"))
    assert swapped[:2] == pytest.approx([1, 1], abs=1e-6)
    assert max(kept) < 0.999
    spec, data = second.spec(), Run(second, data_root=str(video_root)).data()
    model = build_model(spec, 2, 1)
    names = set_dilation(model, 2, 1)
    assert list(other["pictures"]["layers"]) == names
    layer = other["pictures"]["layers"][names[0]]
    maps = unpacked(layer["maps"]["reference"], layer["size"])
    assert maps.shape == (len(layer["frames"]), 16, 16)
    assert unpacked(layer["maps"]["swapped"], layer["size"]).tolist() == maps.tolist()
    clip = unpacked(other["pictures"]["input"], (16, 16))
    assert any((clip == data.test[n][0][0].numpy()).all() for n in range(len(data.test)))


def test_only_a_finished_run_of_the_same_training_is_taken(
    video_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_env: dict[str, str]
) -> None:
    monkeypatch.setenv("STDCF_CACHE", small_env["STDCF_CACHE"])
    results = tmp_path / "results"
    spec = next(r for r in runs("kth_table1") if (r.layer, r.mode) == ("regular", "full"))
    source = small(spec, video_root, results)
    run_it(source, video_root)
    assert trained.find(source.spec(), results) == source
    for change in ({"seed": 1}, {"amp": True}, {"batch_size": 2}, {"layer": "rank1"}):
        assert trained.find(source.spec().model_copy(update=change), results) is None, change
    # What is damaged or not at its end serves nobody.
    moved = source.path / "stage-full.pt"
    shutil.move(moved, tmp_path / "aside.pt")
    assert trained.find(source.spec(), results) is None
    shutil.move(tmp_path / "aside.pt", moved)
    result = json.loads((source.path / "result.json").read_text())
    source.write_result({**result, "status": "error"})
    assert trained.find(source.spec(), results) is None


def row(mode: str, layer: str, seed: int, accuracies: dict[str, float]) -> dict[str, Any]:
    return {
        "profile": "paper",
        "dataset": "weizmann",
        "layer": layer,
        "mode": mode,
        "seed": seed,
        "status": "ok",
        "reason": None,
        "accuracy": None,
        "conditions": [
            {"name": name, "accuracy": value, "video_accuracy": value}
            for name, value in accuracies.items()
        ],
        "similarities": {
            "kept": {"a": 0.5, "b": 0.4, "c": 0.3},
            "swapped": {"a": 1.0, "b": 1.0, "c": 0.75},
        },
        "shipped": False,
        "finished": "2026-11-27T10:00:00Z",
        "commit": "a" * 40,
        "dirty": False,
        "device": "cpu X",
        "dtype": "float32",
        "clip_shape": [1, 16, 60, 80],
        "train_shapes": ["16×60×80"],
        "train_clips": 720,
        "test_clips": 148,
        "classes": 10,
        "epochs_per_stage": 4,
        "train_seconds": 3.0,
    }


def lines(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, line, strict=True)) for line in table.rows]


def table1_rows() -> Sequence[Row]:
    rows = []
    for seed in range(3):
        rows += [
            row("half_size", "stdcf", seed, {"own": 0.9, "plain": 0.5, "dilated": 0.7}),
            row("full", "stdcf", seed, {"own": 0.9, "plain": 0.6}),
            row("dilated_time", "stdcf", seed, {"own": 0.9, "dilated": 0.6 + 0.02 * seed}),
        ]
    return rows


def test_table_1_from_rows(tmp_path: Path) -> None:
    accuracy, without = kth_table1.SUITE.tables(table1_rows())
    stdcf = [line for line in lines(accuracy) if line["Layer"] == "STDCF"]
    space, time = stdcf
    assert (space["Plain, %"], space["Dilated, %"]) == ("50.00 ± 0.00", "70.00 ± 0.00")
    assert (space["Paper: plain"], space["dilated"]) == ("53.08", "75.34")
    assert (time["Paper: plain"], time["dilated"]) == ("66.49", "77.11")
    # 0, 2 and 4 points: their deviation is 2, and 4.303 · 2 / √3 is more than their mean.
    assert (time["Dilation's gain"], time["Beyond interval"]) == ("+2.00 ± 4.97", "no")
    assert space["Beyond interval"] == "yes"
    own = next(line for line in lines(without) if line["Layer"] == "STDCF")
    assert own["Clip acc., %"] == "90.00 ± 0.00"
    drawn = kth_table1.SUITE.figures(table1_rows(), tmp_path)
    assert [path.name for path in drawn] == ["table1.png", "table1.svg"]


def test_the_other_tables_from_rows(tmp_path: Path) -> None:
    tempo = [
        row("dilated_time", "stdcf", s, {"reference": 0.9, "kept": 0.5, "swapped": 0.8})
        for s in range(2)
    ]
    (table,) = kth_tempo.SUITE.tables(tempo)
    swapped = next(
        line for line in lines(table) if "swapped" in line["Tested at"] and line["n"] != "0"
    )
    assert (swapped["vs kept"], swapped["Sim. 1"], swapped["Sim. 3"]) == (
        "+30.00 ± 0.00",
        "1.000",
        "0.750",
    )
    drawn = kth_tempo.SUITE.figures(tempo, tmp_path)
    assert [path.name for path in drawn] == ["tempo.png", "tempo.svg"]

    sweep = [row("dilated_time", "stdcf", 0, {"kept_2": 0.5, "matched_2": 0.75})]
    (table,) = tempo_sweep.SUITE.tables(sweep)
    found = {
        (line["Layer"], line["Trained at dilation"], line["Atoms"]): line for line in lines(table)
    }
    assert found["STDCF", "2", "matched"]["2×"] == "75.00"
    assert found["STDCF", "2", "kept"]["2×"] == "50.00"
    # Dilation 1/2 there is not.
    assert found["STDCF", "1", "matched"]["2×"] == ""
    assert [path.name for path in tempo_sweep.SUITE.figures(sweep, tmp_path)] == [
        "tempo_sweep.png",
        "tempo_sweep.svg",
    ]


@pytest.mark.parametrize("name", MODULES)
def test_nothing_measured_is_said_so(name: str, tmp_path: Path) -> None:
    suite = MODULES[name].SUITE
    assert "not run" in str(suite.tables([])[0].rows)
    assert suite.figures([], tmp_path) == []
