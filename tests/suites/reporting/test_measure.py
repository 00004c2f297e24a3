"""The accuracy that stands for rows is the protocol's wherever all rows have it."""

import pytest

from suites.reporting.figures.groups import Group
from suites.reporting.figures.speed import ratios
from suites.reporting.measure import PLAIN, RECALIBRATED, measure_of, units


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], PLAIN),
        ([{PLAIN: 0.5}], PLAIN),
        ([{PLAIN: 0.5, RECALIBRATED: 0.6}, {PLAIN: 0.5}], PLAIN),
        ([{PLAIN: 0.5, RECALIBRATED: 0.6}, {PLAIN: None}], RECALIBRATED),
        ([{PLAIN: 0.5, RECALIBRATED: None}], PLAIN),
    ],
)
def test_recalibrated_accuracy_stands_for_rows_that_all_have_it(
    rows: list[dict], expected: str
) -> None:
    assert measure_of(rows) == expected


def test_means_are_over_folds_where_there_are_folds() -> None:
    assert units([{"fold": None}, {}]) == "seeds"
    assert units([{"fold": "fold-eli"}]) == "folds"
    assert units([{"fold": "fold-eli"}], 1) == "fold"


def test_times_are_paired_by_fold_and_not_by_seed_alone() -> None:
    def group(layer: str, **seconds: float) -> Group:
        rows = [{"fold": fold, "seed": 0, "train_seconds": s} for fold, s in seconds.items()]
        return Group(layer, "full", rows)

    assert ratios(group("stdcf", a=2.0, b=9.0), group("regular", a=1.0, b=3.0)) == [2.0, 3.0]
