"""reduction: the formulas against hand-worked numbers, and counted layers against the formulas."""

import copy
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from suites.engine.request import make_request
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.experiments.reduction import task as reduction_task
from suites.experiments.reduction.suite import SIZES, SUITE, specs

SHIPPED = {
    "shipped": False,
    "commit": "c" * 40,
    "dirty": False,
    "device": "cpu X",
    "finished": "2026-11-26T10:00:00Z",
    "seed": 0,
    "layer": "stdcf",
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of every filter size, with few channels."""
    made = []
    for spec in specs(Request("quick", "none"), "none"):
        small = spec.model_copy(update={"options": spec.options | {"channels": [3, 4]}})
        folder = RunFolder.create(tmp_path_factory.mktemp("results"), small)
        row = reduction_task.measure(Run(folder))
        made.append(SHIPPED | {"mode": small.mode} | row)
    return made


def test_the_formulas_by_hand() -> None:
    """M=3, N=2, 3×3×3, 64 → 64 channels, at one position."""
    assert reduction_task.formulas(3, 3, 3, 2, 64, positions=1) == {
        "formula_params": 6 * 4096 + 27 + 6,
        # 3 spatial maps a channel of 9 taps, 2 temporal ones of each of 3, mixed by 6·64².
        "formula_macs": 64 * 27 + 64 * 3 * 6 + 6 * 4096,
        "formula_dense_params": 27 * 4096,
        "formula_dense_macs": 27 * 4096,
        "limit": 6 / 27,
    }


def test_what_is_counted_is_what_the_formulas_say(rows: list[dict[str, Any]]) -> None:
    assert [(row["t"], row["k"]) for row in rows] == list(SIZES)
    for row in rows:
        found = row["measurements"]
        assert [
            (one["channels"], one["spatial_atoms"], one["temporal_atoms"]) for one in found
        ] == list(product((3, 4), (3, 6), (1, 2)))
        for one in found:
            for what in ("params", "macs", "dense_params", "dense_macs"):
                assert one[what] == one[f"formula_{what}"], (row["mode"], one, what)


def test_the_table_names_what_differs(rows: list[dict[str, Any]]) -> None:
    (table,) = SUITE.tables(rows)
    assert table.rows[0][:5] == ["3×3²", "3", "1", "78", "same"]
    assert "32 layers counted: 0 differ" in table.notes[0]
    wrong = copy.deepcopy(rows)
    wrong[0]["measurements"][4]["params"] += 1
    (table,) = SUITE.tables(wrong)
    assert table.rows[0][3:5] == ["79", "78"]
    assert "32 layers counted: 1 differ" in table.notes[0]
    assert SUITE.tables([])[0].notes == ["no runs yet"]


def test_it_is_drawn_from_rows_alone(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    drawn = SUITE.figures(rows, tmp_path)
    assert [path.name for path in drawn] == ["reduction.png", "reduction.svg"]
    assert SUITE.figures(rows[1:], tmp_path) == []


@pytest.mark.parametrize("wanted", [{"epochs": 2}, {"seeds": 3}])
def test_it_trains_nothing(wanted: dict[str, int]) -> None:
    with pytest.raises(UserError, match="trains nothing"):
        make_request(SUITE, "quick", None, **wanted)
