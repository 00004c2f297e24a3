"""Figure 5 from rows made by hand."""

from pathlib import Path
from typing import Any

import pytest

from suites.experiments.kth_table2 import figure5
from suites.reporting.figures.style import LAYER_NAMES

STAGES = ("t1", "s1", "t2", "s2", "t3", "s3")


def row(layer: str, mode: str, seed: int, **changes: Any) -> dict[str, Any]:
    content = {
        "profile": "paper",
        "dataset": "weizmann",
        "layer": layer,
        "mode": mode,
        "seed": seed,
        "status": "ok",
        "accuracy": 0.7 + seed / 100,
        "stages": [
            {"stage": stage, "accuracy": 0.5 + n / 20 + seed / 100}
            for n, stage in enumerate(STAGES)
        ],
        "finished": "2026-11-22T10:00:00Z",
        "device": "cpu AMD EPYC",
        "dtype": "float32",
        "synthetic": False,
        "epochs_per_stage": 8,
        "clip_shape": [1, 16, 60, 80],
        "train_clips": 800,
        "test_clips": 137,
    }
    return {**content, **changes}


def text_of(svg: Path) -> str:
    """What an SVG says: Matplotlib notes each text, drawn as outlines, in a comment."""
    return svg.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [
        row(layer, mode, seed)
        for layer in LAYER_NAMES
        for mode in ("full", "itsl", "full_dilated")
        for seed in range(3)
    ]
    first, second = (figure5.draw(rows, tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == ["figure5.png", "figure5.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert first[0].read_bytes().startswith(b"\x89PNG")
    said = text_of(first[1])
    # Gains over stage-t of iteration 1: 5 points a stage.
    for n in range(1, len(STAGES)):
        assert f"(+{5 * n:.1f})" in said
    for layer in LAYER_NAMES.values():
        assert f"{layer} (n=3)" in said
    for words in ("weizmann", "8 epochs a stage", "2026-11-22", "cpu AMD EPYC", "intervals"):
        assert words in said
    assert "SYNTHETIC" not in said


def test_one_layer_one_seed_no_full_size_row(tmp_path: Path) -> None:
    rows = [row("stdcf", "itsl", 0, synthetic=True), row("rank1", "itsl", 0, status="nan")]
    # One that the paper does not have.
    rows.append(row("my_own", "itsl", 0))
    said = text_of(figure5.draw(rows, tmp_path)[1])
    assert "STDCF (n=1)" in said
    assert "my_own (n=1)" in said
    assert "Rank-1" not in said
    assert "SYNTHETIC" in said


@pytest.mark.parametrize(
    "rows", [[], [row("stdcf", "full", 0)], [row("stdcf", "itsl", 0, status="oom")]]
)
def test_nothing_is_drawn_without_an_itsl_row(tmp_path: Path, rows: list[dict]) -> None:
    assert figure5.draw(rows, tmp_path / "figures") == []
    assert list(tmp_path.iterdir()) == []
