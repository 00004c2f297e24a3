"""A machine with the required packages alone, and data that is decoded already."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.slow
def test_a_suite_trains_without_the_optional_packages(
    small_suite: Any, undisturbed: Any, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    absent.mkdir()
    for package in ABSENT:
        (absent / f"{package}.py").write_text(f"raise ImportError('no {package} here')\n")
    path = os.pathsep.join(filter(None, [str(absent), os.environ.get("PYTHONPATH")]))
    # `undisturbed` has decoded the videos into the cache that both use.
    bare = replace(small_suite, env={**small_suite.env, "PYTHONPATH": path})
    status, out, err = bare.start().end()
    assert (status, err) == (0, ""), out

    def without_fvcore(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if not k.startswith("fvcore")} for row in rows]

    assert without_fvcore(bare.measured()) == without_fvcore(undisturbed.measured())
    assert all(row["fvcore_macs"] is None for row in bare.measured())
