"""How long it takes to send a thousand runs to a real SLURM, and to show them."""

import resource
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.speed import slowness

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_a_thousand_runs_are_sent_in_ten_seconds_and_shown_in_three(grid: Any) -> None:
    grid.seeds = 1000
    send = ("--yes", "--cluster-option", "sbatch={hold=true}")
    (status, out, err), seconds = _timed(lambda: grid.slurm(*send))
    assert (status, err) == (0, "")
    assert "1000 sent now" in out
    assert seconds <= 10 * slowness()
    (status, out, err), seconds = _timed(lambda: grid.module("status"))
    assert (status, err) == (0, "")
    assert out.count("JobHeldUser") == 1000
    assert seconds <= 3 * slowness()


def _timed(command: Callable[[], Any]) -> tuple[Any, float]:
    """What a command returns, and its seconds: those on the clock or, of a machine that has other
    things to do, those that the command computed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    found = command()
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(f"{seconds:.1f} s, {computed:.1f} s of them computing")
    return found, min(seconds, computed)
