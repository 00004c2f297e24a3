"""The figures that every suite has: what they show, that their bytes repeat, what is not drawn."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from suites import paths, plot
from suites.reporting.drawing import RECORD, Setting, draw_settings, drawn
from suites.reporting.figures import curves as figure_curves
from suites.reporting.figures import speed as figure_speed
from suites.reporting.figures import style
from suites.reporting.figures.common import COMMON
from suites.reporting.figures.groups import groups_of
from suites.reporting.figures.pareto import pareto_front
from suites.reporting.settings import by_setting
from tests.suites.reporting.many_runs import make_runs

HOSTILE = r"$\frac{<b>&'\n]]>--%漢 " + "\x00\x1b\u202e"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Three seeds of each row of one setting."""
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "shipped")
    make_runs(tmp_path / "results", 36)
    ((_, found),) = by_setting("kth_table2", tmp_path / "results").items()
    return [dict(row) for row in found]


def test_every_figure_is_drawn_and_its_bytes_repeat(rows: list[dict], tmp_path: Path) -> None:
    for name, figure in COMMON.items():
        first, second = (figure.draw(rows, tmp_path / side) for side in ("a", "b"))
        assert [path.name for path in first] == [f"{name}.png", f"{name}.svg"]
        for one, other in zip(first, second, strict=True):
            assert one.read_bytes() == other.read_bytes()
        # Alone or beside a PNG: the same SVG.
        with style.only("svg"):
            (alone,) = figure.draw(rows, tmp_path / "c")
        assert alone.read_bytes() == first[1].read_bytes()
        ElementTree.parse(first[1])
        text = first[1].read_text(encoding="utf-8")
        assert "weizmann" in text
        assert "cpu made up" in text
        assert not any(word in text for word in ("<dc:date>", str(tmp_path)))
        with Image.open(first[0]) as image:
            assert image.width == style.WIDTH * 200
            assert "Software" not in image.info


def test_one_colour_a_layer_everywhere(rows: list[dict], tmp_path: Path) -> None:
    for figure in COMMON.values():
        for layer, colour in style.LAYER_COLOURS.items():
            path = figure.draw([r for r in rows if r["layer"] == layer], tmp_path / layer)[1]
            text = path.read_text(encoding="utf-8").lower()
            assert colour.lower() in text
            others = set(style.LAYER_COLOURS.values()) - {colour}
            assert not any(other.lower() in text for other in others)


def test_unknown_layers_have_a_colour_of_their_own_name() -> None:
    assert style.colour("tucker") == style.colour("tucker")
    assert style.colour("tucker") not in style.LAYER_COLOURS.values()
    assert style.in_order(["z", "stdcf", "a", "regular", "z"]) == ["regular", "stdcf", "a", "z"]


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def deuteranope(colour: str) -> tuple[float, ...]:
    """As seen without green cones: the matrix of Machado, Oliveira and Fernandes (2009)."""
    rgb = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    matrix = [
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ]
    return tuple(sum(a * b for a, b in zip(line, rgb, strict=True)) for line in matrix)


def test_layers_are_told_apart_without_green_cones() -> None:
    seen = [deuteranope(colour) for colour in style.LAYER_COLOURS.values()]
    for index, one in enumerate(seen):
        for other in seen[index + 1 :]:
            assert math.dist(one, other) > 0.15
    # And by their shapes, in gray print.
    assert len(set(style.LAYER_MARKERS.values())) == len(style.LAYER_MARKERS)
    for colour in style.LAYER_COLOURS.values():
        assert (1.0 + 0.05) / (luminance(colour) + 0.05) > 2


POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(POINTS)
def test_the_pareto_front_is_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    beaten = {
        (m, a) for m, a in points for n, b in points if n <= m and b >= a and (n, b) != (m, a)
    }
    assert pareto_front(points) == sorted(set(points) - beaten)


def test_ratios_are_those_at_the_same_seed() -> None:
    def row(layer: str, seed: int, seconds: float) -> dict[str, Any]:
        where = {"host": "h", "device": "cpu", "mode": "full", "status": "ok"}
        return {**where, "layer": layer, "seed": seed, "train_seconds": seconds}

    rows = [row("regular", 0, 1.0), row("regular", 1, 4.0), row("regular", 2, 9.0)]
    rows += [row("stdcf", 0, 2.0), row("stdcf", 1, 32.0), row("stdcf", 5, 1.0)]
    regular, stdcf = groups_of(rows)
    assert figure_speed.ratios(stdcf, regular) == [2.0, 8.0]


def test_times_of_other_machines_are_left_out(rows: list[dict], tmp_path: Path) -> None:
    some = [{**row, "host": "other" if row["layer"] == "rank1" else "h"} for row in rows]
    text = figure_speed.draw(some, tmp_path)[1].read_text(encoding="utf-8")
    assert "runs of other machines are left out" in text
    assert "Rank-1" not in text


def test_curves_and_stages_are_read(rows: list[dict]) -> None:
    row = next(row for row in rows if row["mode"] == "itsl" and row["status"] == "ok")
    losses, ends = figure_curves.read_curve(row)
    assert len(losses) == 60
    assert ends == [10, 20, 30, 40, 50, 60]
    lines = (Path(row["folder"]) / "curves.csv").read_text().splitlines()
    assert losses[-1] == float(lines[-1].split(",")[3])
    for text in ("", "stage,epoch\n", "train_loss\nx\n"):
        (Path(row["folder"]) / "curves.csv").write_text(text)
        assert figure_curves.read_curve(row) == ([], [])


def test_measured_peaks_are_not_mixed_with_predicted_ones(rows: list[dict], tmp_path: Path) -> None:
    draw = COMMON["accuracy_memory"].draw
    assert "Measured peak" in draw(rows, tmp_path)[1].read_text(encoding="utf-8")
    for row in rows[:3]:
        row.pop("measured_peak_bytes", None)
    assert "rows have no peak" in draw(rows, tmp_path)[1].read_text(encoding="utf-8")
    for row in rows:
        row.pop("measured_peak_bytes", None)
    text = draw(rows, tmp_path)[1].read_text(encoding="utf-8")
    assert "Predicted peak" in text
    assert "Measured" not in text


def test_nothing_is_drawn_of_nothing(rows: list[dict], tmp_path: Path) -> None:
    bare = [{k: row[k] for k in ("layer", "mode", "seed", "status")} for row in rows]
    failed = [{**row, "status": "nan"} for row in rows]
    for found in ([], bare, failed):
        for figure in COMMON.values():
            assert figure.draw(found, tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_names_that_look_like_code_are_drawn_as_they_are(rows: list[dict], tmp_path: Path) -> None:
    strange = [
        {
            **row,
            "layer": HOSTILE if row["layer"] == "rank1" else row["layer"],
            "mode": HOSTILE + row["mode"],
            "notes": [HOSTILE],
            "device": HOSTILE,
            "measured_by": HOSTILE,
        }
        for row in rows
    ]
    for figure in COMMON.values():
        svg = figure.draw(strange, tmp_path)[1]
        ElementTree.parse(svg)


def test_what_is_drawn_is_kept_until_it_changes(rows: list[dict], tmp_path: Path) -> None:
    setting = Setting("kth_table2", "one", rows)
    assert drawn(setting, tmp_path) is None
    (paths,) = draw_settings([setting], tmp_path)
    assert drawn(setting, tmp_path) == paths
    times = {path: path.stat().st_mtime_ns for path in paths}
    assert draw_settings([setting], tmp_path) == [paths]
    assert {path: path.stat().st_mtime_ns for path in paths} == times
    # Where the runs lie is not a part of a figure.
    moved = [{**row, "folder": "/elsewhere"} for row in rows]
    assert drawn(Setting("kth_table2", "one", moved), tmp_path) == paths
    other = [{**rows[0], "accuracy": 0.125}, *rows[1:]]
    assert drawn(Setting("kth_table2", "one", other), tmp_path) is None
    paths[0].write_bytes(b"touched")
    assert drawn(setting, tmp_path) is None
    # What the new rows have no figure of goes; what a person put there stays.
    mine = tmp_path / "kth_table2" / "one" / "mine.png"
    mine.write_bytes(b"mine")
    single = Setting("kth_table2", "one", [row for row in rows if row["mode"] == "full"][:1])
    (left,) = draw_settings([single], tmp_path)
    names = {path.name for path in mine.parent.iterdir()}
    assert names == {path.name for path in left} | {RECORD, "mine.png"}
    (mine.parent / RECORD).write_text(json.dumps({"files": ["../../x"]}))
    assert drawn(single, tmp_path) is None


DRAWING = (
    "reporting/figures/parts.py",
    "reporting/stats.py",
    "experiments/kth_table2/figure5.py",
    "experiments/shared/conditions.py",
)


@pytest.mark.slow
def test_an_edit_of_what_draws_draws_anew(rows: list[dict], tmp_path: Path) -> None:
    """In processes of their own, of a copy of the tree: an untouched one draws nothing."""
    copy = tmp_path / "tree"
    for room in ("suites", "stdcf", "baselines", "slurm", "results/published"):
        shutil.copytree(
            paths.REPOSITORY / room, copy / room, ignore=shutil.ignore_patterns("__pycache__")
        )
    (copy / "results" / "runs").mkdir()
    one = tmp_path / "one"
    for row in rows:
        if row["layer"] == "stdcf" and row["mode"] == "full":
            folder = Path(row["folder"])
            shutil.copytree(folder, one / folder.relative_to(tmp_path / "results"))
    words = [sys.executable, "-m", "suites.plot", "kth_table2", "--results", str(one)]

    def plot_in_copy() -> dict[str, int]:
        env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(words, cwd=copy, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return {line: Path(line).stat().st_mtime_ns for line in done.stdout.splitlines()}

    drawn = plot_in_copy()
    assert drawn
    assert plot_in_copy() == drawn
    for edited in DRAWING:
        with (copy / "suites" / edited).open("a") as file:
            file.write("# an edit\n")
        before, drawn = drawn, plot_in_copy()
        assert drawn.keys() == before.keys()
        assert all(drawn[path] > before[path] for path in drawn), edited
    # Another suite's figure is none of this one's.
    with (copy / "suites/experiments/kth_table1/figure.py").open("a") as file:
        file.write("# an edit\n")
    assert plot_in_copy() == drawn


@pytest.mark.slow
def test_several_processes_draw_the_same_bytes(rows: list[dict], tmp_path: Path) -> None:
    settings = [Setting("kth_table2", name, rows[:12]) for name in "ab"]
    one = draw_settings(settings, tmp_path / "one", processes=1, formats=("svg",))
    two = draw_settings(settings, tmp_path / "two", processes=2, formats=("svg",))
    for a, b in zip(one, two, strict=True):
        assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]


def test_plot_draws_them_beside_the_suites_own(call: Any, rows: list[dict], tmp_path: Path) -> None:
    where = ("kth_table2", "--results", tmp_path / "results")
    code, out, err = call(plot, *where)
    assert (code, err) == (0, "")
    names = {Path(line).name for line in out.splitlines()}
    assert names >= {"figure5.svg", *(f"{name}.png" for name in COMMON)}
    assert all(
        Path(line).is_relative_to(tmp_path / "results" / "figures") for line in out.splitlines()
    )
