"""A runner killed at three moments of its suite ends with the same rows, to the digit."""

import os
import signal
from typing import Any

import pytest

from suites.engine.store.folder import rows
from suites.experiments.kth_table2 import suite as kth_table2

# The moment of each kill: which run, and what fraction of it is trained. The second also kills the
# worker, as a power cut does, so that it cannot write a last checkpoint.
MOMENTS = (("regular", 0.0, False), ("stdcf", 0.0, True), ("stdcf", 0.4, False))


@pytest.mark.slow
def test_three_kills_change_no_digit(small_suite: Any, undisturbed: Any) -> None:
    for layer, fraction, with_worker in MOMENTS:
        command = small_suite.start("--workers", "1")
        reached = small_suite.trains(command, layer, fraction)
        command.wait_for(reached, f"{fraction} of {layer}")
        workers = command.workers()
        command.process.send_signal(signal.SIGKILL)
        if with_worker:
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
        assert command.end()[0] == -signal.SIGKILL
        # No row, and not even an error, of what was killed.
        assert small_suite.statuses()[layer] is None
    status, out, err = small_suite.start("--workers", "1").end()
    assert (status, err) == (0, "")
    # One line: what had ended was not run again.
    assert out.count("seed 0: accuracy") == 1
    assert small_suite.measured() == undisturbed.measured()
    first, second = (
        [
            t.to_csv()
            for t in kth_table2.tables([r for r in rows(suite.results) if not r["shipped"]])
        ]
        for suite in (small_suite, undisturbed)
    )
    assert first == second
