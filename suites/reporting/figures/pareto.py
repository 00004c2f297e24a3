"""Accuracy against peak memory, with the Pareto front."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.reporting.figures import parts, seeds, style
from suites.reporting.figures.groups import fills, groups_of
from suites.reporting.measure import WORDS, measure_of, units

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
    groups, key = groups_of(usable), measure_of(usable)
    if len(groups) < 2:
        return []
    places = {
        (group.mode, group.layer): (
            seeds.mean(row[column] / MIB for row in group.rows),
            [100 * row[key] for row in group.rows],
        )
        for group in groups
    }
    by_mode = fills([group.mode for group in groups])
    with parts.page() as (figure, (axes,)):
        memories = [memory for memory, _ in places.values()]
        # Before the points, whose places it decides.
        if max(memories) > 10 * min(memories):
            axes.set_xscale("log")
        for mode, fill in by_mode.items():
            frame = seeds.tidy(
                (memory, layer, accuracies)
                for (own, layer), (memory, accuracies) in places.items()
                if own == mode
            )
            seeds.points(axes, frame, dots=False, **style.filled(fill))
        axes.margins(x=0.08, y=0.1)
        # From the lower to the right edge: what lies beyond is beaten.
        limits = axes.get_xlim(), axes.get_ylim()
        front = pareto_front([(memory, seeds.mean(own)) for memory, own in places.values()])
        (line,) = axes.step(
            [front[0][0], *(memory for memory, _ in front), limits[0][1]],
            [limits[1][0], *(accuracy for _, accuracy in front), front[-1][1]],
            where="post",
            color=parts.GRAY,
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
        axes.set_ylabel(f"{WORDS[key].capitalize()}, %")
        axes.set_title("Accuracy against peak memory", loc="left")
        handles = parts.legend_handles([group.layer for group in groups], by_mode)
        axes.legend(handles=[*handles, line], loc="upper left", bbox_to_anchor=(1.0, 1.0))
        counts = sorted({len(group.rows) for group in groups})
        number = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        left_out = len(with_accuracy) - len(usable)
        return parts.save(
            figure,
            folder,
            "accuracy_memory",
            usable,
            f"means over {number} {units(usable, counts[-1])}, whiskers: 95% intervals; front: "
            "less memory or more accuracy only at the cost of the other"
            + (f"; {left_out} rows have no peak" if left_out else ""),
        )
