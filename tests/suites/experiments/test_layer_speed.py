"""layer_speed: what it times, how ratios are taken, and what its tables and figures say."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.experiments.layer_speed import task as layer_speed_task
from suites.experiments.layer_speed.cases import layers
from suites.experiments.layer_speed.shapes import SHAPES, Shape
from suites.experiments.layer_speed.suite import SUITE, specs
from suites.experiments.layer_speed.tables import geometric_mean, tables
from suites.experiments.shared import timing as interleaved
from suites.experiments.shared.timing import Contender, run_rounds, timings


@pytest.fixture
def fake_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call takes as many seconds as it returns."""
    monkeypatch.setattr(interleaved, "timed", lambda call, device: call())


@pytest.fixture
def no_time(tmp_path: Path) -> Run:
    """A run that times for no seconds."""
    spec = specs(Request("quick", "none"), "none")[0]
    return Run(RunFolder.create(tmp_path, spec.changed(options={**spec.options, "seconds": 0})))


def test_ratios_are_taken_within_a_round_against_the_better_layout(
    fake_times: None, no_time: Run
) -> None:
    slow, fast = count(20, 10), count(10, 10)  # a machine that slows down: 10, 20, 30 …
    mine = count(5, 5)
    contenders = [
        Contender("regular", "a", {"step": lambda: next(slow)}),  # type: ignore[dict-item]
        Contender("regular", "b", {"step": lambda: next(fast)}),  # type: ignore[dict-item]
        Contender("own", "a", {"step": lambda: next(mine)}),  # type: ignore[dict-item]
    ]
    rounds = run_rounds(no_time, contenders)
    assert rounds == 3
    row = timings(contenders[2], contenders)
    assert (row["step_ratio"], row["step_ratio_low"], row["step_ratio_high"]) == (0.5, 0.5, 0.5)
    assert row["step_seconds"] == 15  # the first round warms up
    assert timings(contenders[0], contenders)["step_ratio"] == pytest.approx(4 / 3)


def test_what_takes_eight_times_as_long_is_timed_twice(fake_times: None, no_time: Run) -> None:
    contenders = [
        Contender("regular", "a", {"step": lambda: 1.0}),  # type: ignore[dict-item]
        Contender("slow", "a", {"step": lambda: 9.0}),  # type: ignore[dict-item]
    ]
    rounds = run_rounds(no_time, contenders)
    assert rounds == 3
    assert [len(one.seconds["step"]) for one in contenders] == [3, 2]


def test_a_small_shape_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "8to8_2x6x6", Shape(8, 8, (2, 6, 6)))
    (spec,) = [s for s in specs(Request("quick", "none"), "none") if "64to64" in s.mode]
    options = {"shape": "8to8_2x6x6", "dtype": "float32", "batch": 2, "seconds": 0}
    spec = spec.model_copy(update={"options": options, "mode": "8to8_2x6x6-float32", "threads": 1})
    row = layer_speed_task.measure(Run(RunFolder.create(tmp_path, spec)))
    assert row["status"] == "ok", row["reason"]
    names = [name for name, _ in layers(SHAPES["8to8_2x6x6"])]
    assert [m["name"] for m in row["measurements"]] == [name for name in names for _ in range(2)]
    dense = row["measurements"][0]
    assert dense["params"] == 27 * 64
    # Weight and its gradient, input, output and both of their gradients.
    elements = 2 * 27 * 64 + 4 * 2 * 8 * 2 * 6 * 6
    assert dense["peak_bytes"] == 4 * elements
    assert all(m["step_seconds"] > 0 and m["forward_ratio"] > 0 for m in row["measurements"])
    assert {m["plan"] for m in row["measurements"] if m["name"].endswith("auto")} <= {
        "composed",
        "factored",
    }


def test_a_wrong_output_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHAPES, "8to8_2x6x6", Shape(8, 8, (2, 6, 6)))
    monkeypatch.setattr(layer_speed_task, "_error", lambda case: 0.5)
    options = {"shape": "8to8_2x6x6", "dtype": "float32", "batch": 1, "seconds": 0}
    spec = specs(Request("quick", "none"), "none")[0].changed(options=options, threads=1)
    row = layer_speed_task.measure(Run(RunFolder.create(tmp_path, spec)))
    assert row["status"] == "error"
    assert "off by 5.0e-01" in row["reason"]


def rows_of(ratios: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    common = {"status": "ok", "reason": None, "device": "cpu X", "threads": 2, "batch": 4}
    common |= {"versions": {"torch": "2"}, "finished": "2026-11-24T10:00:00Z", "shipped": False}
    common |= {"commit": "c" * 40, "dirty": False, "measured_by": "tracker_cpu", "seed": 0}
    made = []
    for case, of in ratios.items():
        measurements = []
        for name, ratio in {"regular": 1.0, **of}.items():
            for layout, worse in (("contiguous", 1.5), ("channels_last_3d", 1.0)):
                one = {"name": name, "layout": layout, "peak_bytes": 2**20 * ratio}
                for kind in ("step", "forward"):
                    one |= {f"{kind}_seconds": ratio * worse, f"{kind}_ratio": ratio * worse}
                measurements.append(one)
        made.append({**common, "mode": f"{case}-float32", "measurements": measurements})
    return made


def test_the_summary_is_the_geometric_mean_over_resnets_shapes() -> None:
    by_case = zip(list(SHAPES)[:4], (0.5, 0.25, 1.0, 2.0), strict=True)
    rows = rows_of({case: {"stdcf 3,2 auto": ratio} for case, ratio in by_case})
    summary = tables(rows)[0]
    assert summary.rows == [["stdcf 3,2 auto", "0.71×", "2.00×", "0.71×", "2.00×"]]
    assert geometric_mean([0.5, 0.25, 1.0, 2.0]) == pytest.approx(0.25**0.25)


def test_a_missing_shape_leaves_the_mean_out() -> None:
    summary = tables(rows_of({next(iter(SHAPES)): {"rank1": 0.9}}))[0]
    assert summary.rows == [["rank1", "–", "0.90×", "–", "0.90×"]]


def test_figures_are_drawn_from_rows_alone(tmp_path: Path) -> None:
    rows = rows_of({case: {"stdcf 3,2 auto": 0.5, "rank1": 0.9} for case in SHAPES})
    drawn = SUITE.figures(rows, tmp_path)
    assert sorted(path.name for path in drawn) == [
        "layer_speed_float32.png",
        "layer_speed_float32.svg",
        "roofline_float32.png",
        "roofline_float32.svg",
    ]
