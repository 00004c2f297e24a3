"""docs/results.md is what the report makes of the shipped runs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from suites import paths, report
from suites.engine.store.index import read_rows
from suites.reporting.docs_page import is_current, write_docs
from tests.suites.reporting.many_runs import make_runs


def test_the_committed_page_is_up_to_date() -> None:
    """If not: python -m suites.report --docs docs/results.md."""
    assert is_current(paths.REPOSITORY / "docs" / "results.md") is None


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few runs shipped, of few seeds."""
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "runs")
    make_runs(tmp_path / "runs", 24, seeds=2)
    return tmp_path / "runs"


def test_it_holds_tables_figures_and_where_they_are_from(
    call: Any, shipped: Path, tmp_path: Path
) -> None:
    page = tmp_path / "docs" / "results.md"
    code, out, err = call(report, "--docs", page)
    assert (code, out, err) == (0, f"{page}\n", "")
    text = page.read_text(encoding="utf-8")
    assert "finished 2026-11-01 to 2026-11-24 on cpu made up." in text
    for title in ("Table 2: accuracy", "Table 2: cost", "paired differences"):
        assert text.count(f"### {title}") + text.count(f"### Clip accuracy: {title}") == 1
    # Not marked as shipped: all are.
    assert "†" not in text
    figures = [line[line.rindex("(") + 1 : -1] for line in text.splitlines() if line[:2] == "!["]
    assert len(figures) == 5
    for figure in figures:
        assert (page.parent / figure).read_bytes().startswith(b"<?xml")
    assert "No runs are shipped of: " in text
    assert str(tmp_path) not in text


def test_it_is_out_of_date_when_a_run_or_the_page_changes(
    call: Any, shipped: Path, tmp_path: Path
) -> None:
    page = tmp_path / "results.md"
    assert call(report, "--docs", page, "--check")[0] == 1
    write_docs(page)
    assert call(report, "--docs", page, "--check")[:2] == (0, f"{page} is up to date\n")
    written = page.read_text(encoding="utf-8")
    page.write_text(written.replace("Reg. 3D", "Irreg. 3D", 1), encoding="utf-8")
    code, out, _ = call(report, "--docs", page, "--check")
    assert code == 1
    assert f"python -m suites.report --docs {page}" in out
    page.write_text(written + "more\n", encoding="utf-8")
    after_the_end = len(written.splitlines()) + 1
    assert f"out of date at line {after_the_end}: 'more'" in str(is_current(page))
    page.write_text(written, encoding="utf-8")
    figure = next((tmp_path / "figures").rglob("stage_memory.svg"))
    figure.rename(figure.with_suffix(".gone"))
    assert is_current(page) is not None
    figure.with_suffix(".gone").rename(figure)
    assert is_current(page) is None
    # A number that no table shows, but a figure.
    row = shipped / next(iter(read_rows(shipped))) / "result.json"
    row.write_text(json.dumps(json.loads(row.read_text()) | {"train_seconds": 77.0}))
    assert "figures of the rows" in str(is_current(page))


def test_nothing_shipped_is_said(call: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "runs")
    code, _, err = call(report, "--docs", tmp_path / "results.md")
    assert code == 2
    assert "no runs are shipped" in err


def test_the_gpus_page_shows_every_step() -> None:
    """Filled by `write_docs`; `is_current` above compares it."""
    text = (paths.REPOSITORY / "docs" / "gpu.md").read_text()
    every = text.partition("## Every step\n")[2].partition("\n## ")[0]
    steps = [line for line in every.splitlines() if re.match(r"\| \S+ .*(float32|bfloat16)", line)]
    assert len(steps) == 207
    known = [line for line in steps if line.endswith("% |")]
    assert f"| all | all steps | {len(known)} |" in text


@pytest.mark.parametrize("option", ["--docs", "--html"])
def test_another_file_is_not_written_over(call: Any, tmp_path: Path, option: str) -> None:
    mine = tmp_path / "README.md"
    mine.write_text("# Mine\n")
    code, _, err = call(report, option, mine)
    assert code == 2
    assert f"{mine} is there and is not what {option} writes" in err
    assert mine.read_text() == "# Mine\n"
