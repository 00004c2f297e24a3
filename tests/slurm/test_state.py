"""What becomes of a run whose job is gone. Needs no SLURM: there are no commands here."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from slurm.queue import QueuedJob
from suites.cluster.record import new_record, write_record
from suites.cluster.state import ClusterView
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.experiments.shared import kth

WAITING = {"40_5": QueuedJob("grid-a", "PENDING", "JobArrayTaskLimit", "")}


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that is number 3 of array 40, sent two minutes ago."""
    monkeypatch.setenv("PATH", str(tmp_path))
    spec = kth.specs(Request(profile="quick", dataset="weizmann"), "ab" * 32)[0]
    folder = RunFolder.create(tmp_path, spec.model_copy(update={"cap_bytes": 2**30}))
    array = tmp_path / "grid-a"
    array.mkdir()
    (array / "submission.json").write_text(json.dumps({"job_id": "40", "count": 6}))
    record = new_record(array, 3, "1 CPU", None)
    write_record(folder, replace(record, submitted=time.time() - 120))
    return folder


def test_a_job_taken_out_of_a_waiting_array_was_cancelled(sent: RunFolder) -> None:
    (run,) = ClusterView(dict(WAITING)).reconcile([sent])
    assert run.row is not None
    assert (run.row["status"], run.row["reason"]) == ("cancelled", "cancelled")
    assert run.row["cap_bytes"] == 2**30


def test_one_that_had_begun_or_whose_array_is_gone_left_no_trace(sent: RunFolder) -> None:
    (run,) = ClusterView().reconcile([sent])
    assert run.row is not None
    assert run.row["status"] == "error"
    (sent.path / "result.json").unlink()
    log = sent.path.parents[2] / "grid-a" / "40_3_0_log.out"
    log.write_text("no such file: python\n")
    (run,) = ClusterView(dict(WAITING)).reconcile([sent])
    assert run.row is not None
    assert run.row["status"] == "error"
