"""What SLURM's commands say, as they say it. Needs no SLURM: the commands here are stand-ins."""

from pathlib import Path

import pytest

from slurm import queue
from slurm.ends import log_since, said_in_log
from slurm.job import Interruptions, SlurmJob
from stdcf.errors import UserError

JOB = SlurmJob("40_2", 0, 0, 1, 0, "n1")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands, which is all that there is in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def command(folder: Path, name: str, output: str, status: int = 0) -> None:
    text = f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <<'END'\n{output}\nEND\n"
    (folder / name).write_text(f"{text}exit {status}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("ids", "jobs"),
    [
        ("12", ["12"]),
        ("12_3", ["12_3"]),
        ("12_[3-5,8%4]", ["12_3", "12_4", "12_5", "12_8"]),
        ("12_[0-6:3]", ["12_0", "12_3", "12_6"]),
        ("12_[7]", ["12_7"]),
    ],
)
def test_arrays_are_expanded(ids: str, jobs: list[str]) -> None:
    assert queue.expand(ids) == jobs


def test_the_queue_is_every_job_by_itself(commands: Path) -> None:
    command(
        commands,
        "squeue",
        "40_[2-3%1]|PENDING||JobArrayTaskLimit|grid-a\n40_1|RUNNING|n2|None|grid-a\n"
        "41|COMPLETED|n1|None|other",
    )
    found = queue.queue()
    assert list(found) == ["40_2", "40_3", "40_1"]
    assert found["40_3"] == queue.QueuedJob("grid-a", "PENDING", "JobArrayTaskLimit", "")
    assert found["40_1"] == queue.QueuedJob("grid-a", "RUNNING", "", "n2")


def test_without_slurm_or_with_one_that_fails_it_says_so(commands: Path) -> None:
    with pytest.raises(UserError, match="no squeue on this machine; run this on a login node"):
        queue.queue()
    command(commands, "squeue", "", status=1)
    with pytest.raises(UserError, match="squeue failed"):
        queue.queue()


def test_ends_are_asked_of_the_controller_and_then_of_sacct(commands: Path) -> None:
    command(commands, "scontrol", "JobId=43 ArrayJobId=40 ArrayTaskId=1 JobState=FAILED Reason=x")
    # Without accounting.
    assert queue.ended_states(["40_1", "40_2"]) == {"40_1": "FAILED"}
    command(commands, "sacct", "40_1|FAILED\n40_2|CANCELLED by 1000\n40_3|RUNNING")
    found = queue.ended_states(["40_1", "40_2", "40_3"])
    assert found == {"40_1": "FAILED", "40_2": "CANCELLED"}
    command(commands, "scontrol", "slurm_load_jobs error: Invalid job id specified", status=1)
    assert queue.ended_states(["40_2"]) == {"40_2": "CANCELLED"}
    assert queue.ended_states([]) == {}


def test_the_longest_array_is_the_clusters(commands: Path) -> None:
    command(commands, "scontrol", "MaxArraySize            = 1001\nMaxDBDMsgs = 20008")
    assert queue.largest_array() == 1001


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("slurmstepd-n1: error: *** JOB 9 ON n1 CANCELLED AT 2026-11-24T12:05:45 ***", "CANCELLED"),
        ("slurmstepd: error: *** JOB 9 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***", "TIMEOUT"),
        ("slurmstepd: error: *** STEP 9.0 ON n1 CANCELLED AT 2 DUE TO PREEMPTION ***", "PREEMPTED"),
        ("*** JOB 9 ON n1 CANCELLED AT 2026 DUE TO NODE FAILURE, SEE SLURMCTLD LOG", "NODE_FAIL"),
        ("slurmstepd: error: Exceeded job memory limit", "OUT_OF_MEMORY"),
        ("error: StepId=9.0 exceeded memory limit (4 > 2), being killed", "OUT_OF_MEMORY"),
        ("error: Detected 1 oom_kill event in StepId=9.0. Some of the step", "OUT_OF_MEMORY"),
        ("srun: error: n1: task 0: Out Of Memory", "OUT_OF_MEMORY"),
        ("Traceback (most recent call last):", None),
    ],
)
def test_the_log_says_how_a_job_ended(line: str, state: str | None) -> None:
    said = said_in_log(f"submitit INFO - Starting\n{line}\nsrun: forcing job termination\n")
    assert said == (None if state is None else (state, line))


def test_only_the_last_start_of_a_job_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("DUE TO TIME LIMIT\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write("error: Exceeded job memory limit\n")
    assert said_in_log(log_since(log, start)) == (
        "OUT_OF_MEMORY",
        "error: Exceeded job memory limit",
    )
    assert log_since(tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("facts", "log", "kind"),
    [
        ("JobState=RUNNING PreemptTime=2026-11-24T12:00:00 EndTime=Unknown", "", "preempted"),
        ("JobState=COMPLETING PreemptTime=None", "*** JOB 9 ON n1 CANCELLED AT 1 ***", "cancelled"),
        ("JobState=CANCELLED PreemptTime=None", "", "cancelled"),
        ("JobState=COMPLETING PreemptTime=None", "CANCELLED DUE TO NODE FAILURE", "node_fail"),
        ("JobState=RUNNING EndTime=2001-01-01T00:00:00", "", "time_limit"),
        # Far from its limit, and nobody says why: as if it was preempted.
        ("JobState=RUNNING EndTime=2999-01-01T00:00:00", "", "preempted"),
    ],
)
def test_what_interrupts_a_job_is_told_apart(
    commands: Path, facts: str, log: str, kind: str
) -> None:
    import signal

    before = {n: signal.getsignal(n) for n in (signal.SIGUSR2, signal.SIGTERM)}
    try:
        found = Interruptions()
        assert not found
        signal.raise_signal(signal.SIGUSR2)
        assert found
        command(commands, "scontrol", f"JobId=40_2 {facts}")
        assert found.kind(JOB, 60, 120, log) == kind
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(("minutes", "kind"), [(1, "time_limit"), (10_000, "preempted")])
def test_without_a_controller_time_decides(commands: Path, minutes: int, kind: str) -> None:
    import signal

    before = {n: signal.getsignal(n) for n in (signal.SIGUSR2, signal.SIGTERM)}
    try:
        found = Interruptions()
        signal.raise_signal(signal.SIGUSR2)
        assert found.kind(JOB, minutes, 30, "") == kind
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_job_that_is_back_in_the_queue_counts_as_put_back(commands: Path) -> None:
    command(commands, "scontrol", "JobId=40_2 JobState=PENDING Restarts=1", status=1)
    # `requeue` fails, but a look at the job would too: the cluster refused.
    assert JOB.requeue() is not None
    both = '#!/bin/sh\ncase "$1" in\n--oneliner) echo "JobId=40_2 JobState={} Restarts={}";;\n'
    both += '*) echo "{}" >&2; exit 1;;\nesac\n'
    for state, restarts, refused in (("PENDING", 1, None), ("RUNNING", 0, "Job is held")):
        (commands / "scontrol").write_text(both.format(state, restarts, "Job is held"))
        assert JOB.requeue() == refused
