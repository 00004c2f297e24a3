"""The figures that every suite has whose rows hold what they show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from suites.engine.suite import Row, Suite
from suites.reporting.figures import curves as figure_curves
from suites.reporting.figures import pareto as figure_pareto
from suites.reporting.figures import speed as figure_speed
from suites.reporting.figures import stage_memory as figure_stage_memory


@dataclass(frozen=True)
class CommonFigure:
    """What a figure shows, in words, and how it is drawn: nothing where its numbers are not."""

    words: str
    draw: Callable[[Sequence[Row], Path], list[Path]]


# By the name of the file.
COMMON: dict[str, CommonFigure] = {
    "accuracy_memory": CommonFigure(
        "Clip accuracy against the peak memory of a training step, with the Pareto front",
        figure_pareto.draw,
    ),
    "stage_memory": CommonFigure(
        "Peak memory of the training step of each stage, by layer", figure_stage_memory.draw
    ),
    "training_curves": CommonFigure(
        "Training loss over epochs, by mode and layer", figure_curves.draw
    ),
    "speed_ratios": CommonFigure(
        "Training time of each row as a ratio to the first", figure_speed.draw
    ),
}


def draw_figures(suite: Suite, rows: Sequence[Row], folder: Path) -> list[Path]:
    """The suite's own figures of one setting, then those above; returns what was written."""
    drawn = suite.figures(rows, folder)
    for name, figure in COMMON.items():
        if name not in suite.leaves_out:
            drawn += figure.draw(rows, folder)
    return drawn
