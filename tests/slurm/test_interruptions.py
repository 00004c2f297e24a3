"""Runs on a real SLURM that are preempted, out of time, cancelled, killed, or lose their node."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
EPOCHS = 30


def processes_of(job: str) -> list[int]:
    """Process ids of a job's tasks and of what they started, but not of its batch script."""
    array, _, index = job.partition("_")
    wanted = {f"SLURM_ARRAY_JOB_ID={array}".encode(), f"SLURM_ARRAY_TASK_ID={index}".encode()}
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            words = set((folder / "environ").read_bytes().split(b"\0"))
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if wanted <= words and b"python" in command and b"srun" not in command:
            found.append(int(folder.name))
    return found


def test_what_is_interrupted_goes_on_and_ends_with_the_same_numbers(
    grid: Any, tmp_path: Path
) -> None:
    undisturbed = replace(grid, results=tmp_path / "undisturbed", epochs=EPOCHS)
    grid.epochs, grid.seeds = EPOCHS, 2
    status, out, err = grid.slurm("--cluster-option", "sbatch={exclusive=true}")
    assert (status, err) == (0, ""), out

    # Seed 0: a partition of higher priority takes its node in the middle of an epoch.
    grid.wait_for_training(0, 0.1)
    urgent = ["-p", "urgent", "-w", grid.attempts(0)[0].node, "--exclusive"]
    grid.lab.ask("sbatch", *urgent, "--wrap", "true", "-o", "/dev/null")
    # Seed 1, on the other node: its time is up.
    grid.wait_for_training(1, 0.1)
    grid.lab.ask("scontrol", "update", f"JobId={grid.job(1)}", "TimeLimit=1")
    grid.wait_until(lambda: grid.attempts(1)[0].how != "running", "the time limit")
    grid.lab.ask("scontrol", "update", f"JobId={grid.job(1)}", "TimeLimit=20")

    grid.wait_for_rest()
    for seed, how in enumerate(("preemptions", "time_limits")):
        row = grid.wait_for_row(seed)
        counts = {"attempts": 2, "preemptions": 0, "time_limits": 0, "lost_attempts": 0, how: 1}
        assert {name: row[name] for name in counts} == counts
    assert grid.module("status")[1].count("accuracy") == 2

    status, out, err = undisturbed.call(*undisturbed.command())
    assert (status, err) == (0, ""), out
    assert grid.measured(0) == undisturbed.measured(0)
    assert grid.measured(0)["curves"][-1].startswith(f"full,{EPOCHS},")


def test_cancelled_and_killed_runs_say_so_and_are_sent_again(grid: Any) -> None:
    grid.epochs, grid.seeds = EPOCHS, 4
    # The last one waits for its turn.
    status, out, err = grid.slurm("--workers", "3")
    assert (status, err) == (0, ""), out

    # By scancel, as the one that waits; the worker alone; the job with all its processes.
    grid.wait_for_training(0)
    array = grid.job(0).partition("_")[0]
    grid.lab.ask("scancel", f"{array}_3", f"{array}_0")
    grid.wait_for_training(1)
    (worker,) = [p for p in processes_of(grid.job(1)) if b"suites.engine.worker" in _command(p)]
    os.kill(worker, signal.SIGKILL)
    grid.wait_for_training(2)
    for process in processes_of(grid.job(2)):
        os.kill(process, signal.SIGKILL)
    grid.wait_for_rest()

    status, out, err = grid.module("status")
    assert (status, err) == (0, "")
    assert grid.wait_for_row(0, "cancelled")["reason"].startswith(f"job {array}_0: cancelled")
    assert "killed by SIGKILL" in grid.wait_for_row(1, "error")["reason"]
    assert "the job ended without a row (exit status" in grid.wait_for_row(2, "error")["reason"]
    grid.wait_for_row(3, "cancelled")
    states = [line.split()[3] for line in out.splitlines() if "stdcf full" in line]
    assert states == ["cancelled", "error", "error", "cancelled"]

    status, out, err = grid.module("status", "--resubmit", "failed")
    assert (status, err) == (0, "")
    assert "4 runs sent again" in out
    grid.wait_for_rest()
    for seed in range(4):
        grid.wait_for_row(seed)
    # From the checkpoint, not from the start.
    assert grid.row(0)["attempts"] == 2
    assert grid.row(3)["attempts"] == 1


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_run_over_its_memory_says_so_and_gets_more(grid: Any) -> None:
    status, out, err = grid.slurm("--cluster-option", "memory_gib=0.2")
    assert (status, err) == (0, ""), out
    grid.wait_for_rest()
    status, out, err = grid.module("status")
    assert (status, err) == (0, "")
    row = grid.wait_for_row(0, "host_oom")
    assert "over the job's --mem" in row["reason"]
    assert "host_oom" in out

    status, out, err = grid.module("status", "--resubmit", "timeout")
    assert "nothing ended as timeout" in out
    more = ("--resubmit", "oom", "--cluster-option", "memory_gib=2")
    status, out, err = grid.module("status", *more)
    assert (status, err) == (0, "")
    assert "1 runs sent again" in out
    grid.wait_for_rest()
    assert grid.wait_for_row(0)["attempts"] == 2


def test_a_run_whose_node_goes_down_ends_on_another(grid: Any) -> None:
    grid.epochs = EPOCHS
    status, out, err = grid.slurm()
    assert (status, err) == (0, ""), out
    grid.wait_for_training(0, 0.1)
    (first,) = grid.attempts()
    grid.lab.ask("scontrol", "update", f"NodeName={first.node}", "State=DOWN", "Reason=test")
    grid.wait_for_rest()
    row = grid.wait_for_row()
    assert [attempt.node for attempt in grid.attempts()] == [
        first.node,
        *{"n1", "n2"} - {first.node},
    ]
    assert row["attempts"] == 2
    assert row["run_id"] in grid.folder().path.name
