"""Two sets of results compared: what moved by how much, against SciPy and by hand."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scipy import stats as scipy_stats

from stdcf.errors import UserError
from suites import paths, report
from suites.reporting.diff import diff_tables
from suites.reporting.stats import holm

MIB = 2**20


def write(root: Path, seed: int, *, layer: str = "stdcf", mode: str = "full", **row: Any) -> None:
    folder = root / "kth_table2" / "weizmann-paper" / f"{layer}-{mode}-s{seed}-{seed:012x}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text("{}")
    content = {
        "layer": layer,
        "mode": mode,
        "seed": seed,
        "status": "ok",
        "manifest": "ab",
        "finished": "2026",
        "host": "here",
        "device": "cpu",
        "measured_peak_bytes": 100 * MIB,
        "params": 7,
        "note": "text",
        "dirty": False,
        **row,
    }
    (folder / "result.json").write_text(json.dumps(content))


def moved(a: Path, b: Path) -> dict[str, list[str]]:
    """What -> the cells of its row."""
    table, _ = diff_tables(str(a), str(b))
    return {line[2]: list(line) for line in table.rows}


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "a", tmp_path / "b"


def test_nothing_moved(sides: tuple[Path, Path]) -> None:
    for root in sides:
        for seed in range(3):
            write(root, seed, accuracy=0.5 + seed / 10, finished=str(root))
    tables = diff_tables(*map(str, sides))
    assert [list(table.rows) for table in tables] == [[], []]
    assert "0 numbers beyond noise" in tables[0].title


def test_accuracies_are_tested_over_shared_seeds(sides: tuple[Path, Path]) -> None:
    before, after = [0.50, 0.52, 0.55], [0.60, 0.63, 0.64]
    for root, values in zip(sides, (before, after), strict=True):
        for seed, accuracy in enumerate(values):
            write(root, seed, accuracy=accuracy, video_accuracy=accuracy)
            write(
                root, seed, mode="itsl", accuracy=[0.5, 0.7, 0.9][(seed + (root is sides[1])) % 3]
            )
    table, _ = diff_tables(*map(str, sides))
    p = scipy_stats.ttest_rel(after, before).pvalue
    q = scipy_stats.ttest_rel([0.7, 0.9, 0.5], [0.5, 0.7, 0.9]).pvalue
    corrected = holm([p, p, q])[0]
    assert corrected is not None
    found = [line for line in table.rows if line[1:3] == ["stdcf full", "accuracy, %"]]
    (line,) = found
    assert line[3:5] == ["52.33", "62.33"]
    assert line[5].startswith("+10.00 ± ")
    assert line[6:] == ["3", f"{corrected:.3f}", "beyond noise"]
    (other,) = [line for line in table.rows if line[1] == "stdcf itsl"]
    assert other[-1] == "within noise"
    # What is beyond noise comes first.
    assert [line[-1] for line in table.rows] == ["beyond noise", "beyond noise", "within noise"]
    assert table.title == "What moved from A to B: 2 numbers beyond noise, 1 not"


def test_other_seeds_are_independent_samples(sides: tuple[Path, Path]) -> None:
    before, after = [0.50, 0.52, 0.55], [0.60, 0.63, 0.64]
    for seed, (x, y) in enumerate(zip(before, after, strict=True)):
        write(sides[0], seed, accuracy=x)
        write(sides[1], seed + 3, accuracy=y)
    p = scipy_stats.ttest_ind(after, before, equal_var=False).pvalue
    assert moved(*sides)["accuracy, %"][6:] == ["3", f"{p:.3f}", "beyond noise"]


def test_counts_and_bytes_have_no_noise(sides: tuple[Path, Path]) -> None:
    for seed in range(2):
        write(sides[0], seed)
        write(sides[1], seed, measured_peak_bytes=100 * MIB + 1024, params=8)
    found = moved(*sides)
    assert found["params"][3:] == ["7", "8", "+1", "–", "–", "moved"]
    assert found["measured peak, MiB"][3:] == ["100.0", "100.0", "+0.001", "–", "–", "moved"]


def test_one_seed_says_nothing_about_noise(sides: tuple[Path, Path]) -> None:
    for root, accuracy in zip(sides, (0.5, 0.9), strict=True):
        write(root, 0, accuracy=accuracy)
    line = moved(*sides)["accuracy, %"]
    assert line[5:] == ["+40.00", "–", "–", "one seed: noise unknown"]


def test_the_same_move_at_every_seed(sides: tuple[Path, Path]) -> None:
    for root, add in zip(sides, (0.0, 0.25), strict=True):
        for seed in range(3):
            write(root, seed, accuracy=0.25 + add)
    assert moved(*sides)["accuracy, %"][-1] == "no spread"


@pytest.mark.parametrize("field", ["host", "device"])
def test_times_of_another_machine_do_not_compare(sides: tuple[Path, Path], field: str) -> None:
    for root, where in zip(sides, ("here", "there"), strict=True):
        for seed in range(3):
            seconds = 100.0 + seed + (500 if where == "there" else 0)
            write(root, seed, train_seconds=seconds, **{field: where})
    assert moved(*sides)["train, s"][-1] == "other machine"


def test_other_clips_do_not_compare(sides: tuple[Path, Path]) -> None:
    for root, manifest in zip(sides, ("ab", "cd"), strict=True):
        for seed in range(3):
            write(root, seed, manifest=manifest, accuracy=0.5 + seed / 10 + (manifest == "cd") / 4)
    assert moved(*sides)["accuracy, %"][-1] == "other clips"


def test_failures_and_single_sided_runs_are_listed(sides: tuple[Path, Path]) -> None:
    write(sides[0], 0, accuracy=0.5)
    write(sides[1], 0, status="oom", accuracy=float("nan"))
    write(sides[1], 1, accuracy=0.9)
    write(sides[0], 0, layer="rank1")
    table, runs = diff_tables(*map(str, sides))
    assert [line[-1] for line in table.rows] == ["one seed: noise unknown"]
    assert [line[1:] for line in runs.rows] == [
        ["rank1 full", "0", "ok", "–"],
        ["stdcf full", "0", "ok", "oom"],
        ["stdcf full", "1", "–", "ok"],
    ]


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


def test_two_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any) -> None:
    repository = tmp_path / "repository"
    runs = repository / "results" / "runs"
    repository.mkdir()
    git(repository, "init", "-q")
    git(repository, "commit", "-q", "--allow-empty", "-m", "nothing")
    git(repository, "tag", "empty")
    for accuracy in (0.5, 0.75):
        shutil.rmtree(runs, ignore_errors=True)
        write(runs, 0, accuracy=accuracy)
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", str(accuracy))
    monkeypatch.setattr(paths, "REPOSITORY", repository)
    code, out, err = call(report, "--diff", "HEAD~1", "HEAD", "--format", "json")
    assert (code, err) == (0, "")
    table, _ = json.loads(out)
    assert table["rows"][0]["B − A"] == "+25.00"
    # A folder beside a commit.
    assert moved(runs, runs) == {}
    assert call(report, "--diff", "HEAD~1", runs, "--format", "json")[1].count("+25.00") == 1
    for wrong, words in (
        ("empty", "has no results/runs"),
        ("nowhere", "is not a folder of results, nor a commit"),
        ("--output=x", "is not a folder of results, nor a commit"),
        (str(repository / ".git"), "no runs in"),
    ):
        with pytest.raises(UserError, match=words):
            diff_tables("HEAD", wrong)
    code, out, err = call(report, "--diff", "HEAD", "nowhere")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
