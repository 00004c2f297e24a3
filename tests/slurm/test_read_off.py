"""A grid on a real SLURM: what is trained is sent, and every point has its row."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stdcf.data.tools.generate import Amount, generate
from suites.engine.store.folder import run_folders

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("schedules_grid.py")


def test_what_is_trained_is_sent_and_every_point_has_its_row(grid: Any) -> None:
    grid = replace(grid, script=SCRIPT)
    status, out, err = grid.slurm()
    assert (status, err) == (0, ""), out
    # E=3, and two caps that are tried with it.
    assert "0 of 9 runs done, 0 in the queue before, 3 sent now, 6 to be read off others" in out
    waiting = [f for f in grid.folders() if not (f.path / "cluster.json").exists()]
    assert len(waiting) == 6
    assert " 0 sent now" in grid.slurm()[1]
    grid.wait_for_rest()
    status, out, err = grid.module("status")
    assert (status, err) == (0, ""), out
    rows = {row["mode"]: row for row in (f.result() for f in grid.folders()) if row is not None}
    assert len(rows) == 9
    trained = [row for row in rows.values() if row["status"] == "ok" and "read_off" not in row]
    assert [row["mode"] for row in trained] == ["e3"]
    for iterations in (1, 2, 3):
        free, kept = rows[f"e{iterations}"], rows[f"e{iterations}_cap64"]
        assert free["status"] == kept["status"] == "ok"
        assert kept["accuracy"] == free["accuracy"]
        assert kept["cap_decided_by"] == "real steps, equal to the bit"
        assert len(free["stages"]) == 2 * iterations
        assert rows[f"e{iterations}_cap1"]["status"] == "cap_exceeded"
    assert re.search(r"6 of 9 runs ok", out)
    # All is done, so nothing is sent again.
    status, out, err = grid.slurm("--no-detach")
    assert "9 of 9 runs done, 0 in the queue before, 0 sent now" in out


def test_a_longer_run_that_is_interrupted_hands_on_what_it_has(grid: Any) -> None:
    grid = replace(grid, script=SCRIPT, epochs=6)
    status, out, err = grid.slurm()
    assert (status, err) == (0, ""), out
    by_mode = {folder.spec().mode: folder for folder in grid.folders()}
    grid.wait_until(lambda: by_mode["e1"].result(), "the row of E=1")
    grid.call("scancel", "--user=root")
    grid.wait_until(lambda: grid.lab.ask("squeue", "-h") == "", "the queue to be empty")
    grid.module("status")
    row = by_mode["e1"].result()
    assert (row["status"], row["read_off"]) == ("ok", by_mode["e3"].spec().folder_name)
    assert (by_mode["e3"].result() or {"status": "cancelled"})["status"] in ("cancelled", "ok")
    # The same command goes on from the checkpoint.
    grid.slurm("--no-detach")
    grid.wait_for_rest()
    ended = {mode: (folder.result() or {}).get("status") for mode, folder in by_mode.items()}
    assert [mode for mode, status in ended.items() if status != "ok"] == [
        mode for mode in by_mode if mode.endswith("_cap1")
    ]


@pytest.mark.skipif(
    "STDCF_WHOLE_GRID" not in os.environ,
    reason="70 jobs of ResNet-50, an hour on two cores; STDCF_WHOLE_GRID=1 sends them",
)
def test_the_quick_kinetics_grid_gives_every_point_its_row(grid: Any, tmp_path: Path) -> None:
    root = generate_clips(tmp_path / "kinetics400")
    words = [sys.executable, "-m", "suites.run", "kinetics_grid", "--data-root", str(root)]
    words += ["--profile", "quick", "--epochs", "1", "--results", str(grid.results)]
    for option in ("crop=32", "short_side=[36,44]", "test_clips=1", "test_crop=32"):
        words += ["--data-option", option]
    words += ["--data-option", "test_short_side=36"]
    status, out, err = grid.call(*words, "--dry-run")
    assert (status, err) == (0, "")
    assert "35 of them are trained; 35 try their cap by real steps, and 120 are read off" in out
    cluster = ["--executor", "slurm", "--cluster", str(grid.lab.folder / "cluster.toml")]
    # A ResNet-50 and its optimiser, twice.
    cluster += ["--cluster-profile", "cpu", "--cluster-option", "memory_gib=3", "--yes"]
    status, out, err = grid.call(*words, *cluster)
    assert (status, err) == (0, ""), out
    assert "70 sent now, 120 to be read off others" in out
    grid.wait_for_rest()
    rows = [folder.result() for folder in run_folders(grid.results)]
    assert len(rows) == 190
    assert {row and row["status"] for row in rows} == {"ok"}
    assert sum("read_off" not in row for row in rows) == 35
    assert sum("cap_decided_by" in row for row in rows) == 95


def generate_clips(root: Path) -> Path:
    """A few videos as Kinetics-400 lays them out."""
    generate("kinetics400", root, Amount(classes=2, train=2, test=1, frames=40, size=(64, 80)))
    return root
