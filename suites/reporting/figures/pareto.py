"""Accuracy against peak memory, with the Pareto front."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.reporting.figures import style
from suites.reporting.figures.groups import (
    fills,
    groups_of,
    legend_handles,
    new_figure,
    small_print,
)
from suites.reporting.stats import estimate

MIB = 2**20


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (memory, accuracy) those that no other beats in one without losing in the other.

    Sorted by memory; of equal points one.
    """
    front: list[tuple[float, float]] = []
    for memory, accuracy in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((memory, accuracy))
    return front


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes accuracy_memory; nothing where fewer than two rows have both numbers.

    Measured peaks where there is any; predicted ones alone, and said so, where there is none.
    """
    with_accuracy = [row for row in rows if isinstance(row.get("accuracy"), float)]
    column = "measured_peak_bytes"
    if not any(row.get(column) for row in with_accuracy):
        column = "predicted_peak_bytes"
    usable = [row for row in with_accuracy if row["status"] == "ok" and row.get(column)]
    groups = groups_of(usable)
    if len(groups) < 2:
        return []
    points = []
    with style.figure_style():
        figure, (axes,) = new_figure(1, right=1.6)
        by_mode = fills([group.mode for group in groups])
        for group in groups:
            found = estimate([100 * row["accuracy"] for row in group.rows])
            memory = estimate([row[column] / MIB for row in group.rows]).mean
            points.append((memory, found.mean))
            axes.errorbar(
                memory,
                found.mean,
                yerr=found.half_width,
                color=style.colour(group.layer),
                marker=style.marker(group.layer),
                fillstyle=by_mode[group.mode],
                markerfacecoloralt="white",
                markersize=7,
                capsize=2,
                elinewidth=1,
                zorder=3,
            )
        if max(point[0] for point in points) > 10 * min(point[0] for point in points):
            axes.set_xscale("log")
        axes.margins(x=0.08, y=0.1)
        # From the lower to the right edge: what lies beyond is beaten.
        limits = axes.get_xlim(), axes.get_ylim()
        front = pareto_front(points)
        (line,) = axes.step(
            [front[0][0], *(memory for memory, _ in front), limits[0][1]],
            [limits[1][0], *(accuracy for _, accuracy in front), front[-1][1]],
            where="post",
            color="#444444",
            linestyle="--",
            linewidth=1,
            label="Pareto front",
            zorder=2,
        )
        axes.set(xlim=limits[0], ylim=limits[1])
        kind = "Measured" if column.startswith("measured") else "Predicted"
        by = ", ".join(sorted({str(row["measured_by"]) for row in usable if "measured_by" in row}))
        axes.set_xlabel(
            f"{kind} peak memory of a training step, MiB"
            + (f" ({style.plain(by)})" if by and kind == "Measured" else "")
        )
        axes.set_ylabel("Clip accuracy, %")
        axes.set_title("Accuracy against peak memory", loc="left")
        axes.legend(
            handles=[*legend_handles(groups), line], loc="upper left", bbox_to_anchor=(1.0, 1.0)
        )
        counts = sorted({len(group.rows) for group in groups})
        seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        left_out = len(with_accuracy) - len(usable)
        small_print(
            figure,
            usable,
            f"means over {seeds} seeds, bars: 95% intervals; front: less memory or more accuracy "
            "only at the cost of the other" + (f"; {left_out} rows have no peak" * bool(left_out)),
        )
        return style.save(figure, folder, "accuracy_memory", tight=False)
