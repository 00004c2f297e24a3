"""The start of a grid of a hundred runs, whose end is in test_whole_grid."""

import re
from typing import Any

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_a_hundred_runs_are_sent_as_arrays(large_grid: Any) -> None:
    # Chunks of 64, as the test's profile says.
    assert re.search(r"job \d+: 64 runs, each 1 CPU, 2 GiB, 20 min", large_grid.sent)
    assert re.search(r"job \d+: 36 runs, each 1 CPU, 2 GiB, 20 min", large_grid.sent)
    assert "0 of 100 runs done, 0 in the queue before, 100 sent now" in large_grid.sent
    status, out, err = large_grid.slurm("--yes")
    assert (status, err) == (0, "")
    found = re.search(r"(\d+) of 100 runs done, (\d+) in the queue before, (\d+) sent now", out)
    assert found is not None
    done, queued, sent = map(int, found.groups())
    assert (done + queued, sent) == (100, 0)
