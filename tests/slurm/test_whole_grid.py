"""The end of the grid of a hundred runs that test_grid_sent sent: it had the other tests' time."""

import re
from typing import Any

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_every_run_of_the_hundred_ends_once(large_grid: Any) -> None:
    large_grid.wait_for_rest()
    folders = large_grid.folders()
    assert len(folders) == 100
    rows = [folder.result() for folder in folders]
    assert [row and row["status"] for row in rows] == ["ok"] * 100
    assert all(row["attempts"] == 1 for row in rows)
    assert len({row["accuracy"] for row in rows}) > 1
    status, out, err = large_grid.module("status")
    assert (status, err) == (0, "")
    assert "kth_table2: 100 of 100 runs ok" in out
    status, out, err = large_grid.module("report")
    assert (status, err) == (0, "")
    assert re.search(r"STDCF +full size +8×16×16 +\S+ ± \S+ +100 ", out)
