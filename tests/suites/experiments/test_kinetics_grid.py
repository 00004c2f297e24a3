"""The ablation's axes, and its estimates against formulas of their own."""

from itertools import product

import pytest

from stdcf.stages.stage import full_size, itsl
from suites.engine.spec import RunSpec
from suites.engine.suite import Request
from suites.experiments.kinetics_grid.gpu_hours import gpu_hours
from suites.experiments.kinetics_grid.points import GIB, points
from suites.experiments.kinetics_grid.suite import specs
from suites.experiments.kinetics_grid.tables import CLIP, TEST_CLIP, Predictor, plan, tables

PAPER = Request(profile="paper", dataset="kinetics400")
MANIFEST = "ab" * 32


def atoms(spec: RunSpec) -> tuple[int, int] | None:
    options = spec.layer_options
    found = options.get("num_spatial_atoms"), options.get("num_temporal_atoms")
    return None if None in found else found


def test_every_axis_is_varied_and_every_run_is_one_of_its_own():
    runs = specs(PAPER, MANIFEST)
    assert len(runs) >= 100
    assert len({spec.run_id for spec in runs}) == len(runs)
    assert len({spec.folder_name.rpartition("-")[0] for spec in runs}) == len(runs)
    assert {spec.layer for spec in runs} == {"regular", "rank1", "stdcf"}
    assert {atoms(spec) for spec in runs} == {None, (3, 2), (6, 2), (9, 3)}
    assert {spec.cap_bytes for spec in runs} == {None, 24 * GIB}
    assert {spec.seed for spec in runs} == {0, 1, 2}
    learning = {
        (
            len(spec.stages) // 2,
            round(1 / min(stage.spatial_scale for stage in spec.stages)),
            max(stage.temporal_stride for stage in spec.stages),
            spec.stages[0].test_dilation != (1, 1),
        )
        for spec in runs
    }
    wanted = {
        (e, beta, gamma, dilated)
        for e, (beta, gamma), dilated in product((1, 2, 3), ((2, 2), (4, 2), (2, 4)), (True, False))
    }
    assert learning == wanted | {(0, 1, 1, False)}
    # All of it for every network and cap.
    assert len(runs) == 3 * 2 * 5 * (1 + 3 * 3 * 2)


def test_dilation_follows_the_reduction_or_is_off():
    by_mode = {(s.layer, s.mode): s for s in specs(PAPER, MANIFEST)}
    stage_t, stage_s = by_mode["regular", "itsl_e1_b4_g2"].stages
    assert (stage_t.dilation, stage_s.dilation) == ((2, 1), (1, 4))
    assert stage_t.test_dilation == stage_s.test_dilation == (2, 4)
    for stage in by_mode["regular", "itsl_e1_b4_g2_plain"].stages:
        assert stage.dilation == stage.test_dilation == (1, 1)
    assert by_mode["stdcf", "m6n2_full_cap24GiB"].cap_bytes == 24 * GIB


def test_a_cap_of_ones_own_takes_the_place_of_the_grids():
    request = Request(profile="quick", dataset="kinetics400", cap_bytes=8 * GIB)
    runs = specs(request, MANIFEST)
    assert {spec.cap_bytes for spec in runs} == {8 * GIB}
    assert len(runs) == 5 * 19


def test_gpu_hours_by_hand():
    """One epoch at full size, 10 GMAC a training and 15 a test clip."""

    def macs(clip: tuple[int, ...]) -> int:
        return 15_000_000_000 if clip[-1] == 256 else 10_000_000_000

    hours = gpu_hours(full_size(epochs=1, lr=0.1), macs, CLIP, TEST_CLIP)
    operations = 2 * (3 * 240_000 * 10e9 + 19_000 * 30 * 15e9)
    assert hours == pytest.approx(operations / (0.25 * 156e12) / 3600)


def test_stages_count_by_their_own_clips():
    """An ideal network's cost is its clip's pixels; ITSL's are 1/4 and 1/2 of full size's."""

    def pixels(clip: tuple[int, ...]) -> int:
        _, frames, height, width = clip
        return frames * height * width * 1000

    full = gpu_hours(full_size(epochs=1, lr=0.1), pixels, CLIP, (3, 0, 1, 1))
    both = gpu_hours(itsl(1, epochs=1, lr=0.1), pixels, CLIP, (3, 0, 1, 1))
    assert both == pytest.approx(0.75 * full)


def small(mode: str) -> RunSpec:
    request = Request(profile="paper", dataset="kinetics400", seeds=1)
    spec = next(s for s in specs(request, MANIFEST) if (s.layer, s.mode) == ("regular", mode))
    return spec.model_copy(update={"batch_size": 2})


def test_dilation_changes_no_peak():
    """Why the plan predicts each pair once."""
    from stdcf.memory.predict import predict_stages
    from suites.engine.catalog import build_model

    peaks = []
    for mode in ("itsl_e1_b2_g2", "itsl_e1_b2_g2_plain"):
        spec = small(mode)
        reports = predict_stages(
            lambda spec=spec: build_model(spec, 400, 3),
            (2, 3, 4, 64, 64),
            spec.stages,
            optimizer="sgd",
        )
        peaks.append([report.peak_bytes for report in reports.values()])
    assert peaks[0] == peaks[1]


def test_the_plan_says_what_fits_and_what_each_point_takes(monkeypatch):
    asked = []

    def peak_bytes(self: Predictor, spec: RunSpec) -> int:
        asked.append(spec.mode)
        return (30 if "full" in spec.mode else 20) * GIB

    monkeypatch.setattr(Predictor, "peak_bytes", peak_bytes)
    monkeypatch.setattr(Predictor, "hours", lambda self, spec: 10.0)
    runs = specs(Request(profile="paper", dataset="kinetics400", seeds=2), MANIFEST)
    (table,) = plan(runs)
    assert len(table.rows) == 190
    assert len(asked) == 380
    by_fit = {row[-2] for row in table.rows if row[2] == "full size" and row[6] == "24"}
    assert by_fit == {"no"}
    # 5 networks at full size do not fit under the cap, in 2 seeds each.
    assert f"{10 * (380 - 10):,} GPU-hours (ESTIMATE)" in table.title
    assert any("ESTIMATE" in note and "156 TFLOP/s" in note for note in table.notes)


def test_the_table_shows_what_has_run():
    (table,) = tables([])
    assert table.rows == []
    assert "0 of 190 points" in table.title
    assert len(list(points())) == 190
