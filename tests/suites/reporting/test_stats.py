"""Intervals and tests against SciPy, hand-worked cases and simulation."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from suites.reporting.comparisons import comparison_table, p_text
from suites.reporting.stats import estimate, holm, paired, unpaired

# Sums and differences of eighths are exact: there is a spread, or none at all.
ACCURACY = st.integers(0, 800).map(lambda n: n / 8)
PAIRS = st.lists(st.tuples(ACCURACY, ACCURACY), min_size=2, max_size=8)
SAMPLE = st.lists(ACCURACY, min_size=2, max_size=8)


def spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


@given(PAIRS)
def test_the_paired_test_is_scipys(pairs: list[tuple[float, float]]) -> None:
    a, b = ([pair[side] for pair in pairs] for side in (0, 1))
    found = paired(a, b)
    differences = [x - y for x, y in pairs]
    assert found.difference.mean == pytest.approx(math.fsum(differences) / len(pairs), abs=1e-9)
    if spread(differences) == 0:
        return  # no spread: below
    expected = scipy_stats.ttest_rel(a, b)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    interval = expected.confidence_interval(0.95)
    assert found.difference.half_width == pytest.approx((interval.high - interval.low) / 2)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(SAMPLE, SAMPLE)
def test_the_unpaired_test_is_welchs(a: list[float], b: list[float]) -> None:
    found = unpaired(a, b)
    if spread(a) == spread(b) == 0:
        return
    expected = scipy_stats.ttest_ind(a, b, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    interval = expected.confidence_interval(0.95)
    assert found.difference.half_width == pytest.approx((interval.high - interval.low) / 2)
    assert found.difference.n == min(len(a), len(b))


def test_a_paired_test_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1/√3, t = 2√3; at 2 degrees the tail of t is
    1/2 − t / (2√(2 + t²))."""
    found = paired([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    t = 2 * math.sqrt(3)
    assert found.difference.mean == 2
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-12)
    assert found.difference.half_width == pytest.approx(4.302652729911275 / math.sqrt(3))


def test_without_spread_there_is_nothing_to_judge_by() -> None:
    assert paired([0.3, 0.5], [0.1, 0.3]).p is None
    assert paired([0.3, 0.5], [0.3, 0.5]).p == 1
    assert unpaired([0.3, 0.3], [0.1, 0.1]).p is None
    assert unpaired([0.3, 0.3], [0.3, 0.3]).p == 1
    for alone in (paired([1.0], [0.0]), unpaired([1.0], [0.0, 0.0])):
        assert (alone.p, alone.difference.half_width, alone.difference.mean) == (None, None, 1.0)


def test_holm_by_hand() -> None:
    """0.005·4, 0.01·3, 0.03·2, and 0.04·1, which may not fall below 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02, None, 0.03]) == [0.04, None, 0.04]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_each_test_and_bonferroni(ps: list[float]) -> None:
    corrected = [p for p in holm(ps) if p is not None]
    for p, found in zip(ps, corrected, strict=True):
        assert p <= found <= min(1.0, len(ps) * p) or found == pytest.approx(len(ps) * p)
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert [corrected[i] for i in order] == sorted(corrected)
    # The smallest is corrected for all of them.
    assert min(corrected) == pytest.approx(min(1.0, len(ps) * min(ps)))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_interval_covers_the_mean_in_95_of_100_draws(n: int) -> None:
    draws = np.random.default_rng(n).normal(70.0, 4.0, (4000, n))
    covered = 0
    for values in draws.tolist():
        found = estimate(values)
        assert found.half_width is not None
        covered += abs(found.mean - 70.0) <= found.half_width
    # Three and a half standard errors of a share of 0.95.
    assert covered / len(draws) == pytest.approx(0.95, abs=3.5 * math.sqrt(0.95 * 0.05 / 4000))


def test_a_family_of_tests_gives_a_false_alarm_in_5_of_100() -> None:
    """Ten tests without any difference, 3 seeds: uncorrected, one alarms in 40 of 100 families."""
    dice = np.random.default_rng(7)
    alarms = raw = 0
    families = 1500
    for _ in range(families):
        draws = dice.normal(0.0, 1.0, (10, 2, 3)).tolist()
        ps = [paired(a, b).p for a, b in draws]
        raw += min(p for p in ps if p is not None) < 0.05
        alarms += min(p for p in holm(ps) if p is not None) < 0.05
    error = 3.5 * math.sqrt(0.05 * 0.95 / families)
    assert alarms / families == pytest.approx(0.05, abs=error)
    assert raw / families == pytest.approx(1 - 0.95**10, abs=0.05)


def test_without_scipy_there_is_a_mean_and_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scipy.special", None)
    found = paired([1.0, 3.0], [0.0, 1.0])
    assert (found.difference.mean, found.difference.half_width, found.p) == (1.5, None, None)
    groups = {("stdcf", mode): {0: 0.5, 1: 0.6} for mode in ("full", "itsl")}
    assert comparison_table(rows(groups)) is None


def rows(groups: dict[tuple[str, str], dict[int, float]]) -> list[dict]:
    return [
        {"layer": layer, "mode": mode, "seed": seed, "status": "ok", "accuracy": accuracy}
        for (layer, mode), seeds in groups.items()
        for seed, accuracy in seeds.items()
    ]


def test_rows_that_differ_in_one_thing_are_compared_and_corrected_together() -> None:
    groups = {
        ("stdcf", "itsl"): {0: 0.70, 1: 0.73, 2: 0.71},
        ("stdcf", "full"): {0: 0.60, 1: 0.62, 2: 0.61, 3: 0.99},
        ("regular", "full"): {0: 0.50, 1: 0.57, 2: 0.52},
        ("rank1", "itsl"): {0: 0.5},
    }
    failed = {**rows({("regular", "full"): {4: 0.0}})[0], "status": "nan"}
    table = comparison_table([*rows(groups), failed], "a setting")
    assert table is not None
    assert "a setting" in table.title
    assert [line[:2] for line in table.rows] == [
        ["STDCF itsl", "STDCF full"],
        ["STDCF full", "Reg. 3D full"],
    ]
    ps = [
        scipy_stats.ttest_rel([70, 73, 71], [60, 62, 61]).pvalue,
        scipy_stats.ttest_rel([60, 62, 61], [50, 57, 52]).pvalue,
    ]
    corrected = holm(ps)
    for line, p, p_corrected in zip(table.rows, ps, corrected, strict=True):
        assert line[3:6] == ["3", p_text(p), p_text(p_corrected)]
        assert line[6] == ("yes" if p_corrected is not None and p_corrected < 0.05 else "no")
    assert table.rows[0][2].startswith("+10.33 ± ")
    # Rank-1 ITSL has one seed: not tested against STDCF's, and that is said.
    assert any("fewer than two seeds in common: 1 more" in note for note in table.notes)


def test_rows_of_folds_are_paired_by_fold_and_say_so() -> None:
    groups = {("stdcf", "full"): {0: 0.6, 1: 0.7}, ("stdcf", "itsl"): {0: 0.7, 1: 0.9}}
    folds = [{**row, "seed": 0, "fold": "ab"[row["seed"]]} for row in rows(groups)]
    by_seed, by_fold = comparison_table(rows(groups)), comparison_table(folds)
    assert by_seed is not None
    assert by_fold is not None
    assert by_fold.rows == by_seed.rows
    assert by_seed.notes[0].startswith("Student's t, paired by seed,")
    assert by_fold.notes[0].startswith("Student's t, paired by fold,")


def test_no_two_rows_with_two_shared_seeds_are_no_table() -> None:
    assert comparison_table([]) is None
    assert (
        comparison_table(rows({("stdcf", "full"): {0: 0.5}, ("stdcf", "itsl"): {0: 0.6}})) is None
    )
    assert (
        comparison_table(
            rows({("stdcf", "full"): {0: 0.5, 1: 0.6}, ("rank1", "itsl"): {0: 0.6, 1: 1}})
        )
        is None
    )


def test_many_rows_are_compared_with_the_first_alone() -> None:
    dice = random.Random(0)
    modes = ["full", *(f"m{n}" for n in range(8))]
    found = {("stdcf", mode): {seed: dice.random() for seed in range(3)} for mode in modes}
    table = comparison_table(rows(found))
    assert table is not None
    assert [line[1] for line in table.rows] == ["STDCF full"] * 8


def test_the_same_difference_at_every_seed_is_unknown() -> None:
    table = comparison_table(
        rows({("stdcf", "full"): {0: 0.25, 1: 0.5}, ("stdcf", "itsl"): {0: 0.5, 1: 0.75}})
    )
    assert table is not None
    assert table.rows[0][2:] == ["+25.00 ± 0.00", "2", "–", "–", "unknown"]
    assert any("no noise to compare" in note for note in table.notes)
