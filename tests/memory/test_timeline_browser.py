"""The picture of a step in a real browser: wide and narrow, by kind and module, by keys too."""

from collections.abc import Iterator
from typing import Any

import pytest

from stdcf.memory import predict_peak
from stdcf.models import create_model
from tests.suites.reporting.browser import WHY_NOT, browser

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=str(WHY_NOT))

CANVAS = "document.getElementById('chart')"
HOVER = "return document.getElementById('hover').textContent"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    report = predict_peak(
        lambda: create_model("kth_cnn", num_classes=6), (4, 1, 16, 30, 40), device="cpu"
    )
    path = report.save_timeline(tmp_path_factory.mktemp("picture") / "step.html")
    with browser() as chromium:
        chromium.emulate(width=1400)
        chromium.open(path)
        chromium.report = report
        yield chromium
        assert chromium.console() == []
        assert chromium.requests() == [path.as_uri()]


def point(page: Any, across: float, up: float) -> str:
    """What is told of the place, in shares of the picture."""
    page.run(
        f"const box = {CANVAS}.getBoundingClientRect();"
        f"{CANVAS}.dispatchEvent(new PointerEvent('pointermove', {{"
        "clientX: box.left + box.width * arguments[0],"
        "clientY: box.bottom - box.height * arguments[1]}))",
        across,
        up,
    )
    return page.run(HOVER)


def test_it_marks_the_peak_and_lists_its_largest(page: Any) -> None:
    peak = f"{page.report.peak_bytes / 2**20:.1f} MiB"
    assert peak in page.run("return document.getElementById('summary').textContent")
    cells = page.run(
        "return [...document.querySelectorAll('#largest tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    frame = page.report.timeline()
    largest = frame[frame.at_peak].bytes.max()
    assert cells[0][0] == f"{largest / 2**20:.1f}"
    assert len(cells) == 20


def test_a_tensor_tells_its_operator_and_module(page: Any) -> None:
    told = point(page, 0.25, 0.4)
    assert "MiB of activations" in told
    assert "made by aten." in told
    assert "in blocks." in told
    point(page, 0.25, 0.99)
    assert "made by" not in page.run(HOVER)


def test_keys_move_through_the_step_and_what_is_alive(page: Any) -> None:
    page.run(f"{CANVAS}.dispatchEvent(new PointerEvent('pointerleave'))")
    before = page.run(HOVER)
    for key in ("ArrowLeft", "ArrowUp"):
        page.run(f"{CANVAS}.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}))")
        assert page.run(HOVER) != before
        before = page.run(HOVER)
    assert "of parameters" in before


@pytest.mark.parametrize("width", [1400, 400])
def test_it_fits_the_window_and_shows_modules(page: Any, width: int) -> None:
    page.emulate(width=width)
    page.run("document.querySelector('input[value=module]').click()")
    assert page.run("return document.documentElement.scrollWidth") <= width
    legend = page.run(
        "return [...document.querySelectorAll('#legend li')].map((item) => item.textContent)"
    )
    assert "(outside of modules)" in legend
    assert any(name.startswith("blocks") for name in legend)
    drawn = page.run(
        f"const c = document.createElement('canvas'), from = {CANVAS};"
        "c.width = from.width; c.height = from.height;"
        "const pen = c.getContext('2d', {willReadFrequently: true}); pen.drawImage(from, 0, 0);"
        "const p = pen.getImageData(0, 0, c.width, c.height).data;"
        "const seen = new Set(); for (let i = 0; i < p.length; i += 4)"
        " if (p[i + 3] === 255) seen.add((p[i] << 16) | (p[i + 1] << 8) | p[i + 2]);"
        "return seen.size"
    )
    assert drawn > 4
