"""What a submission leaves in files: it is read back as it was, and damage is one line."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurm.profile import ClusterProfile
from slurm.resources import Resources
from stdcf.errors import UserError
from suites import paths, status
from suites.cluster.record import REQUEST_FILE, ClusterRecord, new_record, read_record, write_record
from suites.cluster.submit import Request
from suites.engine.store.attempts import PREEMPTED, Attempt, attempts, begin, end
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request as SuiteRequest
from suites.experiments.shared import kth

ATTEMPT = Attempt("grid-a", "40_3", 0, "node1", "/logs/40_3_0_log.out", 120, 1.5)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that was sent and interrupted once, with a request beside its spec."""
    spec = kth.specs(SuiteRequest(profile="quick", dataset="weizmann"), "ab" * 32)[0]
    folder = RunFolder.create(tmp_path, spec)
    write_record(folder, new_record(tmp_path / "grid-a", 3, "1 CPU", {"finished": "yesterday"}))
    begin(folder, ATTEMPT)
    end(folder, PREEMPTED)
    request().write(folder.path / "array")
    return folder


def request() -> Request:
    profile = ClusterProfile(partition="gpu", gpus_per_node=4, sbatch={"nice": 10}, margin=2)
    return Request("kth_table2", profile, Resources(minutes=30), None, expected_time_limits=1)


def test_it_is_read_back_as_it_was(run: RunFolder) -> None:
    (attempt,) = attempts(run)
    assert (attempt.submission, attempt.log_start, attempt.how) == ("grid-a", 120, "preempted")
    assert attempt.ended is not None
    assert abs(attempt.ended - time.time()) < 60
    record = read_record(run)
    assert record is not None
    assert (record.name, record.index, record.replaces) == ("grid-a", 3, "yesterday")
    assert Request.read(run.path / "array") == request()
    # The files' names and fields are known outside: docs/cluster.md, the arrays of earlier code.
    assert list(json.loads((run.path / "cluster.json").read_text())) == [
        *("submission", "index", "submitted", "needs", "replaces")
    ]


def test_what_is_not_there(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert attempts(folder) == []
    assert read_record(folder) is None
    with pytest.raises(UserError, match="is gone; send the runs anew"):
        Request.read(tmp_path)


FILES: dict[str, tuple[str, Callable[[RunFolder], Any]]] = {
    "attempts": ("attempts.json", attempts),
    "record": ("cluster.json", read_record),
    "request": (f"array/{REQUEST_FILE}", lambda folder: Request.read(folder.path / "array")),
}


@pytest.mark.parametrize("which", FILES)
@pytest.mark.parametrize("damage", ["empty", "cut", "list", "extra", "missing", "wrong"])
def test_damage_is_one_line_with_the_files_name(run: RunFolder, which: str, damage: str) -> None:
    name, read = FILES[which]
    file = run.path / name
    content = json.loads(file.read_text())
    inner = content[0] if which == "attempts" else content
    first = next(iter(inner))
    if damage == "extra":
        inner["colour"] = "red"
    elif damage == "missing":
        del inner[first]
    elif damage == "wrong":
        inner[first] = 3
    text = json.dumps(content)
    file.write_text({"empty": "", "cut": text[:-5], "list": "[[]]"}.get(damage, text))
    with pytest.raises(UserError) as caught:
        read(run)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    assert {"extra": "colour", "missing": first, "wrong": first}.get(damage, "") in message
    assert message.rpartition("; ")[2].startswith(("delete the file", "send the runs anew"))


def test_a_number_in_quotes_is_no_number(run: RunFolder) -> None:
    file = run.path / "array" / REQUEST_FILE
    content = json.loads(file.read_text())
    content["resources"]["minutes"] = "30"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"resources\.minutes: .*valid integer.*given: '30'"):
        Request.read(file.parent)
    content["resources"] |= {"minutes": 30, "colour": "red"}
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"resources\.colour"):
        Request.read(file.parent)
    assert ClusterRecord("a", 1, 0.0, "1 CPU").name == "a"


def test_a_command_says_it(
    call: Any, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "none")
    (run.path / "cluster.json").write_text('{"submission": "a", "job": 3}')
    suite = run.spec().suite
    code, _, err = call(status, suite, "--results", tmp_path)
    assert code == 2
    assert err.count("\n") == 1
    assert "cluster.json" in err
