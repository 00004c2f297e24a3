"""The end of the grid that test_grid_sent sent: it had the other tests' time."""

import re
from typing import Any

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_every_run_of_the_grid_ends_once(large_grid: Any) -> None:
    runs = large_grid.seeds
    large_grid.wait_for_rest()
    folders = large_grid.folders()
    assert len(folders) == runs
    rows = [folder.result() for folder in folders]
    assert [row and row["status"] for row in rows] == ["ok"] * runs
    assert all(row["attempts"] == 1 for row in rows)
    assert len({row["accuracy"] for row in rows}) > 1
    status, out, err = large_grid.module("status")
    assert (status, err) == (0, "")
    assert f"kth_table2: {runs} of {runs} runs ok" in out
    status, out, err = large_grid.module("report")
    assert (status, err) == (0, "")
    assert re.search(rf"STDCF +full size +8×16×16 +\S+ ± \S+ +{runs} ", out)
