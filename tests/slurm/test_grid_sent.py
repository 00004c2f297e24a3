"""The start of a grid of several arrays, whose end is in test_whole_grid."""

import re
from typing import Any

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_a_grid_is_sent_as_arrays(large_grid: Any) -> None:
    runs, chunk = large_grid.seeds, large_grid.chunk
    # In chunks of the size that the test's profile says.
    for size in (chunk, runs - chunk):
        assert re.search(rf"job \d+: {size} runs, each 1 CPU, 2 GiB, 20 min", large_grid.sent)
    assert f"0 of {runs} runs done, 0 in the queue before, {runs} sent now" in large_grid.sent
    status, out, err = large_grid.slurm("--yes")
    assert (status, err) == (0, "")
    counts = rf"(\d+) of {runs} runs done, (\d+) in the queue before, (\d+) sent now"
    found = re.search(counts, out)
    assert found is not None
    done, queued, sent = map(int, found.groups())
    assert (done + queued, sent) == (runs, 0)
