"""How long it takes to send a thousand runs to a real SLURM, and to show them."""

import time
from typing import Any

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_a_thousand_runs_are_sent_in_ten_seconds_and_shown_in_three(grid: Any) -> None:
    grid.seeds = 1000
    started = time.monotonic()
    status, out, err = grid.slurm("--yes", "--cluster-option", "sbatch={hold=true}")
    sent_seconds = time.monotonic() - started
    assert (status, err) == (0, "")
    assert "1000 sent now" in out
    started = time.monotonic()
    status, out, err = grid.module("status")
    status_seconds = time.monotonic() - started
    assert (status, err) == (0, "")
    assert out.count("JobHeldUser") == 1000
    print(f"sent in {sent_seconds:.1f} s, shown in {status_seconds:.1f} s")
    assert sent_seconds <= 10
    assert status_seconds <= 3
