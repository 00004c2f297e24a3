"""Many runs on a real SLURM: sent once, run once, and found again."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

# It takes the place of sbatch, and kills whoever called it as soon as the jobs are in the queue.
KILLING_SBATCH = """\
#!/bin/bash
{sbatch} "$@"
kill -9 $PPID
"""


def test_a_request_that_no_node_can_meet_is_refused(grid: Any) -> None:
    options = ("--cluster-profile", "gpu", "--cluster-option", "gpu_type=h100")
    status, _, err = grid.slurm(*options)
    assert status == 2
    (line,) = err.strip().splitlines()
    assert line.startswith("error: 1 runs: the cluster takes no job with 1 GPU, 1 CPU, 2 GiB")
    assert "sbatch: error" in line
    assert grid.lab.ask("squeue", "-h") == ""
    # Nothing of it stays: the run goes where there are nodes for it.
    assert "waiting" in grid.module("status")[1]


def test_gpus_are_asked_for_and_a_node_without_cuda_says_so(grid: Any) -> None:
    # The nodes only pretend to have GPUs, so the run ends as a run on a broken node does.
    status, out, err = grid.slurm("--cluster-profile", "gpu")
    assert (status, err) == (0, ""), out
    (job,) = set(grid.lab.ask("squeue", "-h", "-o", "%b").split())
    assert job.endswith("gpu:1")
    grid.wait_for_rest()
    row = grid.wait_for_row(0, "error")
    assert re.search("worker exit status 1: .*(CUDA|NVIDIA)", row["reason"])
    assert row["device"] == "cuda:0, which is not there"


def test_whoever_submits_may_die_and_nothing_is_sent_twice(grid: Any, tmp_path: Path) -> None:
    grid.seeds = 2
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    real = next(
        Path(folder) / "sbatch"
        for folder in grid.env["PATH"].split(os.pathsep)
        if (Path(folder) / "sbatch").exists()
    )
    sbatch.write_text(KILLING_SBATCH.format(sbatch=real))
    sbatch.chmod(0o755)
    path = f"{sbatch.parent}{os.pathsep}{grid.env['PATH']}"
    killed = replace(grid, env={**grid.env, "PATH": path})
    status, out, err = killed.slurm()
    assert status == -9
    jobs = grid.lab.ask("squeue", "-h", "-r", "-o", "%i").split()
    assert len(jobs) == 2
    status, out, err = grid.slurm()
    assert (status, err) == (0, ""), out
    assert "0 sent now" in out
    grid.wait_for_rest()
    for seed in range(2):
        assert grid.wait_for_row(seed)["attempts"] == 1
    # A job of a run that is done does nothing.
    before = {f.path: f.path.stat().st_mtime_ns for f in grid.folders()}
    status, out, err = grid.slurm("--no-detach")
    assert (status, err) == (0, "")
    assert "Table 2" in out
    assert before == {f.path: f.path.stat().st_mtime_ns for f in grid.folders()}


def test_two_processes_on_two_nodes_train_what_one_does(grid: Any) -> None:
    grid.seeds, grid.options = 2, ("--model-option", "dropout=0")
    alone = replace(grid, results=grid.results.with_name("alone"))
    both = replace(grid, options=(*grid.options, "--ranks", "2"))
    status, out, err = both.slurm()
    assert (status, err) == (0, ""), out
    status, out, err = alone.slurm()
    assert (status, err) == (0, ""), out
    both.wait_for_rest()
    for seed in range(2):
        row, single = both.wait_for_row(seed), alone.wait_for_row(seed)
        assert row["run_id"] != single["run_id"]
        # In float32 and 25 steps; tests/training/test_distributed.py compares them in float64.
        losses = [_losses(found.folder(seed)) for found in (both, alone)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-2)
        assert row["test_clips"] == single["test_clips"]
        (attempt,) = both.attempts(seed)
        facts = grid.lab.ask("scontrol", "show", "job", attempt.job)
        assert "NodeList=n[1-2]" in facts
        assert "NumTasks=2" in facts


def _losses(folder: Any) -> list[float]:
    lines = (folder.path / "curves.csv").read_text().splitlines()[1:]
    return [float(line.split(",")[3]) for line in lines]
