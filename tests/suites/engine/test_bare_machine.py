"""A machine with the required packages alone, and data that is decoded already."""

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suites.paths import REPOSITORY

ABSENT = (
    "av",
    "scipy",
    "seaborn",
    "matplotlib",
    "fvcore",
    "submitit",
    "captum",
    "pyarrow",
    "hypothesis",
)


def without_packages(tmp_path: Path) -> str:
    """A PYTHONPATH by which the packages cannot be imported."""
    absent = tmp_path / "absent"
    absent.mkdir()
    for package in ABSENT:
        (absent / f"{package}.py").write_text(f"raise ImportError('no {package} here')\n")
    return os.pathsep.join(filter(None, [str(absent), os.environ.get("PYTHONPATH")]))


@pytest.mark.slow
def test_a_suite_trains_without_the_optional_packages(
    small_suite: Any, undisturbed: Any, tmp_path: Path
) -> None:
    path = without_packages(tmp_path)
    # `undisturbed` has decoded the videos into the cache that both use.
    bare = replace(small_suite, env={**small_suite.env, "PYTHONPATH": path})
    status, out, err = bare.start().end()
    assert (status, err) == (0, ""), out

    def without_fvcore(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        # Nor the frame rates, which PyAV reads.
        absent = ("fvcore", "frame_rates")
        return [{k: v for k, v in row.items() if not k.startswith(absent)} for row in rows]

    assert without_fvcore(bare.measured()) == without_fvcore(undisturbed.measured())
    assert all(row["fvcore_macs"] is None for row in bare.measured())


@pytest.mark.slow
def test_gpu_evidence_without_a_gpu_ends_within_a_minute(tmp_path: Path) -> None:
    tar = tmp_path / "rows.tar"
    words = ["gpu_evidence", "--device", "cpu", "--profile", "quick", "--budget-minutes", "1"]
    words += ["--results", str(tmp_path / "results"), "--archive", str(tar)]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "suites.run", *words],
        env={**os.environ, "PYTHONPATH": without_packages(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert time.monotonic() - started < 60
    # A slow machine leaves runs for the next call, and says so; none may end badly.
    left = re.search(r"runs ok, (\d+) not ok, (\d+) not run", done.stdout)
    assert (done.returncode, done.stderr) == (1 if left else 0, ""), done.stdout
    assert left is None or (left[1] == "0" and "time is up" in done.stdout), done.stdout
    assert "1-machine seed 0: copy" in done.stdout
    assert "NO GPU took part: nothing here was measured on one" in done.stdout
    assert done.stdout.count("skipped: needs a GPU") == 6
    assert tar.exists()
