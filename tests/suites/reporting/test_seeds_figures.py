"""What Seaborn draws is what `stats.estimate` says: whiskers, bars and points read back."""

import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from suites.paths import REPOSITORY
from suites.reporting.figures import parts, seeds
from suites.reporting.stats import estimate

# t of Student's table at 97.5%, for 1, 2 and 3 degrees of freedom.
T = {2: 12.7062, 3: 4.30265, 4: 3.18245}
SAMPLES = {
    (0.0, "regular"): [1.0, 2.0, 3.0],
    (0.0, "stdcf"): [4.0, 8.0],
    (1.0, "regular"): [5.0, 5.5, 7.0, 9.0],
    (1.0, "stdcf"): [6.0],
}


@pytest.fixture
def axes() -> Iterator[Any]:
    with parts.page() as (_, (found,)):
        yield found


def frame() -> Any:
    return seeds.tidy((place, layer, values) for (place, layer), values in SAMPLES.items())


def by_hand(values: list[float]) -> tuple[float, float]:
    """Ends of the 95% interval by the textbook."""
    mean = sum(values) / len(values)
    spread = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    half = T[len(values)] * math.sqrt(spread / len(values))
    return mean - half, mean + half


def whiskers(axes: Any, across: bool = False) -> list[tuple[float, float]]:
    """Ends of all lines of two points, as they are drawn."""
    drawn = [line.get_xdata() if across else line.get_ydata() for line in axes.lines]
    caps = [line.get_marker() in ("_", "|") for line in axes.lines]
    ends = [tuple(sorted(ys)) for ys, cap in zip(drawn, caps, strict=True) if cap]
    return sorted(pair for pair in ends if not math.isnan(pair[0]))


EXPECTED = sorted(by_hand(values) for values in SAMPLES.values() if len(values) > 1)


@pytest.mark.parametrize("across", [False, True])
def test_points_have_the_intervals_of_student(axes: Any, across: bool) -> None:
    seeds.points(axes, frame(), across=across)
    found = whiskers(axes, across)
    assert np.array(found) == pytest.approx(np.array(EXPECTED), rel=1e-5)
    # To the last digit those of the tables.
    estimates = [estimate(values) for values in SAMPLES.values() if len(values) > 1]
    exact = sorted((e.mean - (e.half_width or 0), e.mean + (e.half_width or 0)) for e in estimates)
    assert found == exact
    means = {
        float(value)
        for line in axes.lines
        if line.get_marker() in ("o", "D")
        for value in (line.get_xdata() if across else line.get_ydata())
    }
    assert means == {2.0, 6.0, 6.625}


def test_a_dot_is_each_seed_beside_its_mean(axes: Any) -> None:
    seeds.points(axes, frame())
    dots = {tuple(dot) for group in axes.collections for dot in group.get_offsets().tolist()}
    means = {
        (x, y): line.get_color()
        for line in axes.lines
        if line.get_marker() in ("o", "D")
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert {y for _, y in dots} == {y for ys in SAMPLES.values() if len(ys) > 1 for y in ys}
    for (place, layer), values in SAMPLES.items():
        (x,) = (
            x
            for x, y in means
            if y == estimate(values).mean
            and round(x) == place
            and (layer == "stdcf") == (x > place)
        )
        assert {y for dot, y in dots if dot == pytest.approx(x)} == (
            set(values) if len(values) > 1 else set()
        )


def test_bars_end_at_means_and_have_the_intervals(axes: Any) -> None:
    samples = {(0.0, "regular"): [1.0, 2.0, 3.0], (0.4, "stdcf"): [4.0, 8.0], (2.0, "rank1"): [6.0]}
    tidy = seeds.tidy((place, layer, values) for (place, layer), values in samples.items())
    seeds.bars(axes, tidy, width=0.3)
    heights = {
        (round(bar.get_x() + bar.get_width() / 2, 9), bar.get_height())
        for bar in axes.patches
        if bar.get_width() == pytest.approx(0.3)
    }
    assert heights == {(0.0, 2.0), (0.4, 6.0), (2.0, 6.0)}
    expected = sorted(by_hand(values) for values in samples.values() if len(values) > 1)
    assert np.array(whiskers(axes)) == pytest.approx(np.array(expected), rel=1e-5)
    # A number stands above its interval and its seeds.
    numbers = {text.get_text(): text.xy for text in axes.texts}
    assert set(numbers) == {"2.0", "6.0"}
    assert numbers["2.0"][1] == pytest.approx(by_hand([1.0, 2.0, 3.0])[1], rel=1e-5)


def test_on_a_logarithmic_axis_means_are_geometric(axes: Any) -> None:
    axes.set_xscale("log")
    seeds.points(axes, seeds.tidy([(0, "stdcf", [2.0, 8.0])]), across=True)
    (mean,) = (line for line in axes.lines if line.get_marker() == "D")
    assert list(mean.get_xdata()) == pytest.approx([4.0])
    low, high = by_hand([math.log(2.0), math.log(8.0)])
    assert whiskers(axes, across=True)[0] == pytest.approx(
        (math.exp(low), math.exp(high)), rel=1e-4
    )


def test_nothing_that_only_reads_imports_what_draws() -> None:
    names = ("seaborn", "matplotlib", "pandas")
    words = "import suites.plot, suites.report, suites.reporting.figures.common, sys; "
    words += "import suites.experiments.kth_table2.figure5, suites.experiments.shared.ablation; "
    words += f"print([name for name in {names} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
