"""The ablation's axes, what of it is trained, and what a budget buys."""

from collections import Counter
from itertools import product
from types import SimpleNamespace
from typing import cast

import pytest

from stdcf.errors import UserError
from suites.engine.budget import within
from suites.engine.clip_facts import ClipFacts
from suites.engine.dry_run import READ_OFF, TRAINED, TRIED, Hours, planned, trainings_table
from suites.engine.estimates import BASES, Estimates
from suites.engine.spec import RunSpec
from suites.engine.suite import Request
from suites.experiments.kinetics_grid.points import GIB, points
from suites.experiments.kinetics_grid.suite import SUITE, rank, specs
from suites.experiments.kinetics_grid.tables import tables

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


def test_what_is_trained_and_what_is_read_off(tmp_path):
    runs = planned(specs(PAPER, MANIFEST), tmp_path)
    counts = Counter(one.how for one in runs)
    assert counts == {TRAINED: 105, TRIED: 105, READ_OFF: 360}
    for one in runs:
        trained, asked = one.training, one.spec
        assert trained.cap_bytes is None
        assert trained.stages[: len(asked.stages)] == asked.stages
        assert (trained.seed, trained.layer_options) == (asked.seed, asked.layer_options)
        assert ("_e3_" in trained.mode) or trained.mode.endswith("full")
    # Undilated, stage-t of γ=4 is that of γ=2.
    begun = [one for one in runs if one.begun]
    assert len(begun) == 15
    assert {(one.begun, one.spec.mode[-11:]) for one in begun} == {(1, "b2_g4_plain")}
    # With a cap of one's own nothing is there without it.
    request = Request(profile="quick", dataset="kinetics400", cap_bytes=8 * GIB)
    assert Counter(one.how for one in planned(specs(request, MANIFEST), tmp_path)) == {
        TRAINED: 35,
        READ_OFF: 60,
    }


def test_a_budget_takes_the_papers_rows_first(tmp_path):
    runs = specs(PAPER, MANIFEST)
    hours = cast(Hours, SimpleNamespace(of=lambda one: 10.0 * (one.how == TRAINED)))
    bought = within(60.0, SUITE, runs, tmp_path, hours)
    assert (bought.trainings, bought.of_trainings, bought.gpu_hours) == (6, 105, 60.0)
    found = bought.specs
    trained = [one.spec for one in planned(found, tmp_path) if one.how == TRAINED]
    modes = {"m6n2_full", "m6n2_itsl_e3_b2_g2"}
    assert {(s.mode, s.seed) for s in trained} == set(product(modes, (0, 1, 2)))
    # With their caps, and with E=1 and E=2.
    assert len(found) == 3 * (2 + 6)
    # Then what differs from them in one thing: layer or atoms, β or γ, dilation.
    more = within(10.0 * 39, SUITE, runs, tmp_path, hours).specs
    assert {rank(s) for s in more if s.cap_bytes is None} == {0, 1}
    assert len([one for one in planned(more, tmp_path) if one.how == TRAINED]) == 39
    assert within(1e9, SUITE, runs, tmp_path, hours).specs == runs
    # A long one that does not fit any more is passed over.
    uneven = cast(Hours, SimpleNamespace(of=lambda one: 99.0 if "full" in one.spec.mode else 5.0))
    assert {s.mode for s in within(95.0, SUITE, runs, tmp_path, uneven).specs} & modes == {
        "m6n2_itsl_e3_b2_g2"
    }
    with pytest.raises(UserError, match="less than the shortest training, about 10"):
        within(9.0, SUITE, runs, tmp_path, hours)


def test_the_dry_run_says_hours_of_each_and_in_all(tmp_path):
    runs = planned(specs(Request("paper", "kinetics400", seeds=1), MANIFEST), tmp_path)
    facts = ClipFacts((3, 8, 224, 224), 400, 240_000, 0.0)

    class Known:
        """What costs seconds a network to predict."""

        seconds = staticmethod(lambda spec, _: 3600.0 * len(spec.stages))
        peak_bytes = staticmethod(lambda spec, *_: (30 if "full" in spec.mode else 20) * GIB)
        basis = staticmethod(lambda *_: BASES[4])
        device = staticmethod(lambda _: "NVIDIA H200")
        errors = staticmethod(lambda _: {BASES[4]: [0.5, 0.9, 1.25]})

    table = trainings_table(SUITE, runs, Hours(cast(Estimates, Known), lambda _: facts))
    # One of them goes on from the first stage of another.
    trained = 5 * (1 + 6 * 6 - 1)
    # A start and some steps for each cap; Known takes an hour for these.
    tried = 35 * (1 + 180 / 3600)
    assert "190 points, 35 trainings" in table.title
    assert f"about {trained + tried:,.0f} GPU-hours (ESTIMATE)" in table.title
    assert table.rows[0][1:] == ["m6n2_full", "1", "2", "30.00", "24 GiB no", "1.0", "1.0"]
    assert table.rows[1][1:] == [
        *("m6n2_itsl_e3_b2_g2", "1", "6", "20.00", "24 GiB yes", "6.0", "6.0"),
    ]
    assert f"35 trainings, {trained:,.0f} GPU-hours; 35 caps tried" in table.notes[0]
    (error,) = [note for note in table.notes if "median" in note]
    assert "3 rows of it would have been estimated at 0.90 times" in error
    assert "0.50 at worst" in error


def test_the_table_shows_what_has_run():
    (table,) = tables([])
    assert table.rows == []
    assert "0 of 190 points" in table.title
    assert len(list(points())) == 190
