"""memory_caps: batches are the largest that fit, tables and figures say what rows say."""

from pathlib import Path
from typing import Any

import pytest

from stdcf.memory.predict import Predictor
from stdcf.models import create_model
from stdcf.stages.stage import total_cost
from suites import run
from suites.engine.catalog import layer_by_name
from suites.engine.suite import Request
from suites.experiments.memory_caps.suite import ATOMS, PROFILES, SUITE
from suites.experiments.memory_caps.task import _predicted
from suites.experiments.memory_caps.techniques import (
    LARGEST_BATCH,
    TECHNIQUES,
    TRAINED,
    Network,
    in_suite_order,
)
from suites.reporting.figures import style

MIB, GIB = 2**20, 2**30


def specs(**options: Any) -> list[Any]:
    return SUITE.specs(Request(**{"profile": "quick", "dataset": "weizmann"} | options), "0" * 64)


@pytest.mark.parametrize(
    ("profile", "layer"),
    [(profile, layer) for profile, own in PROFILES.items() for layer in own.batches],
)
def test_each_technique_trains_with_the_largest_batch_that_fits(profile: str, layer: str) -> None:
    own = PROFILES[profile]
    conv = layer_by_name(layer, ATOMS["kth_cnn"] if layer == "stdcf" else {})
    predictor = Predictor(lambda: create_model("kth_cnn", conv=conv, num_classes=10), "cpu")

    def peak_bytes(spec: Any, batch: int) -> int:
        # Stages of one size need the same.
        stages = {stage.clip_shape((batch, 1, 16, *own.size)): stage for stage in spec.stages}
        return max(
            predictor.peak(
                (batch, 1, 16, *own.size), stage=stage, savers=spec.techniques
            ).peak_bytes
            for stage in stages.values()
        )

    seen = set()
    for spec in specs(profile=profile):
        if not spec.is_training or spec.layer != layer or spec.mode in seen or spec.seed:
            continue
        seen.add(spec.mode)
        if spec.mode.endswith("computation"):
            continue
        assert spec.cap_bytes == own.cap_bytes
        assert peak_bytes(spec, spec.batch_size) <= own.cap_bytes, spec.mode
        # Micro-batches are of whole clips.
        more = spec.batch_size + (2 if "accumulate=2" in spec.techniques else 1)
        if more <= LARGEST_BATCH[profile]:
            assert peak_bytes(spec, more) > own.cap_bytes, spec.mode
    assert {mode.rpartition("-")[0] for mode in seen} == set(own.batches[layer])


def test_computation_is_itsls() -> None:
    by_mode = {spec.mode: spec for spec in specs(profile="paper") if spec.is_training}
    itsl = total_cost(by_mode["itsl-epochs"].stages)
    assert itsl == pytest.approx(2.25 * total_cost(by_mode["full-epochs"].stages))
    assert total_cost(by_mode["full-computation"].stages) == pytest.approx(itsl)
    # Checkpointing computes the forward pass twice: a third more.
    again = total_cost(by_mode["checkpoint-computation"].stages)
    assert again * 4 / 3 == pytest.approx(itsl, rel=0.01)


def test_techniques_share_one_table() -> None:
    trained = [spec for spec in specs() if spec.is_training]
    assert any("bf16" in spec.techniques for spec in trained)
    assert len({spec.setting for spec in trained}) == 1


def test_a_plan_predicts_every_technique() -> None:
    """Room: of full size and of ITSL's halves, whose clips are half as large."""
    small = Network((1, 16, 30, 40), 4, 6, "adam", (4, 1, 16, 30, 40))
    found = _predicted(lambda: create_model("kth_cnn"), small)
    assert list(found) == [technique.name for technique in TECHNIQUES]
    plain, itsl = found["full size"], found["ITSL"]
    assert itsl["peak_bytes"] == pytest.approx(plain["peak_bytes"] / 2, rel=0.05)
    assert itsl["step_cost"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert itsl["training_cost"] == pytest.approx(3 * (1 / 4 + 1 / 2))
    assert itsl["room"]["4"] == pytest.approx(2 * plain["room"]["4"], rel=0.05)
    for way in found.values():
        rooms = list(way["room"].values())
        assert rooms == sorted(rooms)
        assert way["peak_bytes"] < way["reserved_bytes"]
        assert (way["host_bytes"] > 0) == ("offload" in way["savers"])


def plan_row(network: str, layer: str, timed: bool) -> dict[str, Any]:
    ways = {
        technique.name: {
            "schedule": technique.schedule,
            "savers": list(technique.savers),
            "peak_bytes": GIB // n,
            "reserved_bytes": 2 * GIB // n,
            "host_bytes": 0,
            "step_cost": 1 + n / 10,
            "training_cost": 1 + n / 10,
            "room": {"0.5": 0.25, "1": 0.0, "2": 1234.5},
        }
        | (
            {
                "measured_peak_bytes": 102 * MIB,
                "predicted_here_bytes": 100 * MIB,
                "measured_by": "tracker_cpu",
                "step_seconds": 0.5 * n,
            }
            if timed
            else {}
        )
        for n, technique in enumerate(TECHNIQUES, start=1)
    }
    return row(network, layer, network) | {
        "dataset": "none",
        "techniques": ways,
        "input_shape": [8, 3, 8, 224, 224],
        "measured_shape": [1, 3, 8, 112, 112],
        "measured_by": "tracker_cpu",
    }


def row(network: str, layer: str, mode: str, **fields: Any) -> dict[str, Any]:
    return {
        "suite": "memory_caps",
        "dataset": "weizmann",
        "profile": "quick",
        "model": network,
        "layer": layer,
        "mode": mode,
        "seed": 0,
        "status": "ok",
        "reason": None,
        "dtype": "float32",
        "threads": 1,
        "device": "cpu made up",
        "finished": "2026-11-27T00:00:00Z",
        "commit": "0" * 40,
        "dirty": False,
        "shipped": False,
    } | fields


def trained_row(layer: str, mode: str, accuracy: float, seed: int = 0) -> dict[str, Any]:
    return row(
        "kth_cnn",
        layer,
        mode,
        seed=seed,
        accuracy=accuracy,
        batch_size=4,
        epochs_per_stage=2,
        clip_shape=[1, 16, 30, 40],
        train_clips=720,
        test_clips=148,
        measured_peak_bytes=24 * MIB,
        cap_bytes=25 * MIB,
        train_seconds=12.3,
    )


def cut_off(layer: str, mode: str) -> dict[str, Any]:
    return row(
        "kth_cnn", layer, mode, status="cap_exceeded", reason="over the cap", cap_bytes=25 * MIB
    )


def test_tables_and_figures(tmp_path: Path) -> None:
    rows = [
        plan_row("resnet3d_50", "regular", timed=False),
        plan_row("kth_cnn", "stdcf", timed=True),
        plan_row("kth_cnn", "regular", timed=True),
    ]
    fits, measured, other = SUITE.tables(rows)
    assert [line[:2] for line in fits.rows[:2]] == [
        ["Reg. 3D", "full size"],
        ["Reg. 3D", "recompute"],
    ]
    # Of two techniques the second needs half, and step costs are the row's.
    assert fits.rows[1][2:6] == ["0.50", "0.50", "1.00", "1.20×"]
    # A quarter of a clip's positions is half of its height and width.
    assert fits.rows[0][-3:] == ["1 at 50%", "none", "1,234"]
    assert measured.rows[1][2:] == ["102.0", "1.00", "+2.00%", "1.000", "2.00×"]
    assert other.title.startswith("resnet3d_50")
    trained = [
        trained_row("stdcf", "itsl-epochs", 0.5),
        trained_row("regular", "itsl-epochs", 0.5),
        trained_row("regular", "full-computation", 0.25),
        cut_off("regular", "int8-epochs"),
        trained_row("regular", "full-epochs", 0.25),
        trained_row("regular", "full-epochs", 0.75, seed=1),
    ]
    (table,) = SUITE.tables(trained)
    assert "cap 25.0 MiB" in table.title
    assert [line[:3] for line in table.rows] == [
        ["Reg. 3D", "full", "equal epochs"],
        ["Reg. 3D", "full", "ITSL's computation"],
        ["Reg. 3D", "int8", "equal epochs"],
        ["Reg. 3D", "itsl", "equal epochs"],
        ["STDCF", "itsl", "equal epochs"],
    ]
    assert table.rows[0][6].startswith("50.00 ±")
    assert table.rows[2][3:8] == ["–", "–", "–", "cap_exceeded", "0"]
    assert any("int8-epochs seed 0: cap_exceeded (over the cap)" in note for note in table.notes)
    with style.only("svg"):
        paths = SUITE.figures([*rows, *trained], tmp_path)
    assert [path.name for path in paths] == ["memory_cost.svg", "accuracy_under_cap.svg"]
    assert SUITE.tables([]) == SUITE.figures([], tmp_path / "none") == []


def test_order_is_the_suites() -> None:
    found = in_suite_order(
        [trained_row("regular", f"{name}-epochs", 0.5) for name in TRAINED][::-1]
    )
    assert [one["mode"].rpartition("-")[0] for one in found] == list(TRAINED)


def test_amp_is_one_line(call: Any, tmp_path: Path) -> None:
    code, out, err = call(run, "memory_caps", "--amp", "--dry-run", "--results", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("error: memory_caps takes no --amp: it trains with and without bfloat16")
    assert err.count("\n") == 1
