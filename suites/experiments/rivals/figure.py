"""Accuracy against measured peak, multiplications and training time, with the Pareto fronts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.experiments.kth_table2.fold_tests import VALUE
from suites.experiments.rivals.tables import lines_of
from suites.experiments.rivals.techniques import CAPS, MIB, multiplications, techniques
from suites.reporting import cells
from suites.reporting.columns import Line
from suites.reporting.figures import parts, seeds, style
from suites.reporting.figures.pareto import pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PEAK, COUNT, TIME = "Peak, MiB", "Multiplications, 10¹²", "Training, minutes"
MEASURES: dict[str, Callable[[Row], float]] = {
    PEAK: lambda row: row["measured_peak_bytes"] / MIB,
    COUNT: lambda row: multiplications(row) / 1e12,
    TIME: lambda row: row["train_seconds"] / 60,
}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes rivals: a row of panels a layer; nothing where fewer than two techniques ended well.

    A point is a technique's mean over folds or seeds, its whiskers the 95% intervals.
    """
    usable = [
        row
        for row in rows
        if row["status"] == "ok" and row.get(VALUE) is not None and row.get("measured_peak_bytes")
    ]
    lines = lines_of(usable) if usable else []
    if len(lines) < 2:
        return []
    profile = usable[0]["profile"]
    known = [mode for mode in techniques(profile) if any(line.key == mode for line in lines)]
    layers = style.in_order([line.layer for line in lines])
    height = 2.4 * len(layers)
    with parts.page(len(layers), len(MEASURES), height=height, sharey="row") as (figure, panels):
        for place, layer in enumerate(layers):
            own = [line for line in lines if line.layer == layer]
            row_of_panels = panels[place * len(MEASURES) :]
            for axes, (words, measure) in zip(row_of_panels, MEASURES.items(), strict=False):
                _panel(axes, own, measure, known)
                if words == PEAK:
                    axes.axvline(CAPS[profile] / MIB, color=parts.GRAY, linewidth=0.8)
                    axes.set_ylabel("Recalibrated accuracy, %")
                    axes.set_title(style.plain(style.layer_name(layer)), loc="left")
                axes.set_xlabel(words)
        return parts.save(
            figure,
            folder,
            "rivals",
            usable,
            ", ".join(
                f"{number} {techniques(profile)[mode].name}"
                for number, mode in enumerate(known, start=1)
            ),
            "whiskers: 95% intervals over folds or seeds; dashed: Pareto front, beyond which less "
            "costs accuracy; line: the cap",
        )


def _panel(
    axes: "Axes", lines: Sequence[Line], measure: Callable[[Row], float], known: Sequence[str]
) -> None:
    found = {
        line.key: (
            seeds.mean(cells.by_unit(line.rows, measure).values()),
            [100 * value for value in cells.by_unit(line.rows, VALUE).values()],
        )
        for line in lines
    }
    frame = seeds.tidy((at, lines[0].layer, values) for at, values in found.values())
    seeds.points(axes, frame, dots=False, markersize=10, markeredgecolor="white")
    for mode, (at, values) in found.items():
        axes.annotate(
            str(known.index(mode) + 1),
            (at, seeds.mean(values)),
            ha="center",
            va="center_baseline",
            fontsize=6,
            color="white",
            zorder=5,
        )
    axes.margins(x=0.12, y=0.12)
    limits = axes.get_xlim(), axes.get_ylim()
    front = pareto_front([(at, seeds.mean(values)) for at, values in found.values()])
    axes.step(
        [front[0][0], *(at for at, _ in front), limits[0][1]],
        [limits[1][0], *(accuracy for _, accuracy in front), front[-1][1]],
        where="post",
        color=parts.GRAY,
        linestyle="--",
        linewidth=1,
        zorder=2,
    )
    axes.set(xlim=limits[0], ylim=limits[1])
