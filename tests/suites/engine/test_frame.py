"""Results as DataFrames: against the files themselves, and as the documentation prints them."""

import contextlib
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import suites
from stdcf.errors import UserError
from suites import paths
from suites.paths import REPOSITORY
from tests.suites.reporting.many_runs import make_runs

DOCS = REPOSITORY / "docs" / "results-in-python.md"


@pytest.fixture(autouse=True)
def _no_local_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STDCF_RESULTS", str(tmp_path / "local"))


def results_of(frame: pd.DataFrame) -> Iterator[dict]:
    for folder in frame["folder"]:
        yield json.loads((Path(folder) / "result.json").read_text())


def test_the_documentation_prints_what_it_shows() -> None:
    plt.switch_backend("agg")
    blocks = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", DOCS.read_text(), re.S)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for code, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == shown
    plt.close("all")


def test_the_shipped_means_in_a_process_of_its_own() -> None:
    """Neither torch nor pandas is imported before it is needed, and torch never is."""
    code = (
        "import sys, suites; print('pandas' in sys.modules, 'runs' in dir(suites));"
        "means = suites.runs(sys.argv[1]).groupby(['suite', 'layer', 'mode']).accuracy.mean();"
        "print(means.to_json(), 'torch' in sys.modules, sep='\\n')"
    )
    command = [sys.executable, "-W", "error", "-c", code, paths.SHIPPED]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    before, means, after = done.stdout.splitlines()
    assert (before, after) == ("False True", "False")
    shipped = suites.runs(paths.SHIPPED)
    expected: dict[str, list[float]] = {}
    for row in results_of(shipped):
        key = str((row["suite"], row["layer"], row["mode"]))
        expected.setdefault(key, [])
        if row.get("accuracy") is not None:
            expected[key].append(row["accuracy"])
    found = json.loads(means)
    assert len(found) == len(expected) > 100
    for key, accuracies in expected.items():
        mean = sum(accuracies) / len(accuracies) if accuracies else None
        assert found[key] == pytest.approx(mean)


def test_a_row_a_run_local_first(tmp_path: Path) -> None:
    make_runs(tmp_path, 40)
    frame = suites.runs(str(tmp_path))
    local = frame[~frame["shipped"]]
    assert list(local.index) == list(range(40))
    assert set(frame["folder"]) - set(local["folder"]) == set(suites.runs()["folder"])
    for (_, found), row in zip(local.iterrows(), results_of(local), strict=True):
        assert found["run_id"] == row["run_id"]
        assert found["setting"] == Path(found["folder"]).parent.name
        assert found["versions"] == row["versions"]
        assert found["finished"] == pd.Timestamp(row["finished"])
        assert pd.isna(found["accuracy"]) == (row["status"] != "ok")
        if row["status"] == "ok":
            assert found["stages"] == row["stages"]
            assert found["measured_peak_bytes"] == row["measured_peak_bytes"]
            assert list(found["clip_shape"]) == row["clip_shape"]
    assert "rest" not in frame


def test_a_local_run_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    shipped = suites.runs()
    first = Path(shipped["folder"][0])
    copy = tmp_path / first.relative_to(paths.SHIPPED)
    shutil.copytree(first, copy)
    frame = suites.runs(tmp_path)
    assert len(frame) == len(shipped)
    assert list(frame[~frame["shipped"]]["folder"]) == [str(copy)]
    assert str(first) not in set(frame["folder"])


def test_a_row_an_epoch_as_the_files_have_it(tmp_path: Path) -> None:
    make_runs(tmp_path, 5)
    first, second, third, *_ = sorted(tmp_path.glob("*/*/*/curves.csv"))
    first.unlink()
    second.write_text("")
    # Cut off in the middle of a line, as an imported file may be.
    third.write_text(third.read_text()[: len(third.read_text()) * 2 // 3])
    runs, curves = suites.runs(tmp_path), suites.curves(tmp_path)
    for _, run in runs.iterrows():
        file = Path(run["folder"]) / "curves.csv"
        text = file.read_text() if file.exists() else ""
        lines = [line for line in csv.DictReader(io.StringIO(text)) if None not in line.values()]
        own = curves[(curves["run_id"] == run["run_id"]) & (curves["suite"] == run["suite"])]
        assert list(own["epoch_of_run"]) == list(range(1, len(lines) + 1))
        assert list(own["train_loss"]) == [float(line["train_loss"]) for line in lines]
        assert list(own["stage"]) == [line["stage"] for line in lines]
    assert str(curves["epoch"].dtype) == "int64"
    assert curves.groupby("shipped")["suite"].first()[False] == "kth_table2"


def test_no_runs_have_the_columns_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "none")
    assert len(suites.runs().groupby(["suite", "layer", "mode"]).accuracy.mean()) == 0
    assert {"suite", "seed", "stage", "train_loss"} <= set(suites.curves())
    with pytest.raises(UserError, match="no results folder"):
        suites.runs(tmp_path / "none")
