"""Training loss over epochs, a panel a mode, a line a layer."""

import csv
from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.reporting.figures import style
from suites.reporting.figures.groups import groups_of, new_figure, small_print

_COLUMN = "train_loss"
_MOST_PANELS = 4


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes training_curves; nothing where no run has kept its losses.

    Lines are means over seeds, bands reach from the lowest to the highest seed; where runs of a
    group have kept different numbers of epochs, the epochs that all have.
    """
    curves = {}
    for group in groups_of(rows):
        found = [read_curve(row) for row in group.rows]
        known = [losses for losses, _ in found if losses]
        if known:
            ends = max((ends for _, ends in found), key=len)
            curves[group.layer, group.mode] = (group, known, ends)
    if not curves:
        return []
    modes = list(dict.fromkeys(mode for _, mode in curves))
    shown = modes[:_MOST_PANELS]
    with style.figure_style():
        from matplotlib.ticker import MaxNLocator

        figure, panels = new_figure(len(shown))
        for axes, mode in zip(panels, shown, strict=True):
            for (_, own), (group, known, ends) in curves.items():
                if own != mode:
                    continue
                length = min(map(len, known))
                epochs = range(1, length + 1)
                seeds = list(zip(*(losses[:length] for losses in known), strict=True))
                colour = style.colour(group.layer)
                axes.fill_between(
                    epochs,
                    [min(values) for values in seeds],
                    [max(values) for values in seeds],
                    color=colour,
                    alpha=0.2,
                    linewidth=0,
                )
                axes.plot(
                    epochs,
                    [sum(values) / len(values) for values in seeds],
                    color=colour,
                    linewidth=1.3,
                    marker=style.marker(group.layer),
                    markevery=max(length // 5, 1),
                    markersize=3.5,
                    label=group.name,
                )
                for end in ends[:-1]:
                    axes.axvline(end + 0.5, color="#999999", linewidth=0.5, linestyle=":", zorder=0)
            axes.set_title(style.plain(mode) or "training", loc="left", fontsize=8)
            axes.set_xlabel("Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        panels[0].set_ylabel("Training loss")
        panels[-1].legend(loc="upper right", frameon=True, edgecolor="none", borderpad=0.2)
        more = len(modes) - len(shown)
        small_print(
            figure,
            rows,
            "means over seeds, bands from the lowest to the highest seed, dotted: a stage ends"
            + (f"; {more} more modes are not drawn" if more else ""),
        )
        return style.save(figure, folder, "training_curves", tight=False)


def read_curve(row: Row) -> tuple[list[float], list[int]]:
    """A run's loss at each epoch, and after how many epochs each stage ends; empty if not kept."""
    try:
        with (Path(row["folder"]) / "curves.csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        losses = [float(line[_COLUMN]) for line in lines]
    except (KeyError, OSError, ValueError, TypeError):
        return [], []
    stages = [line.get("stage") for line in lines]
    return losses, [i + 1 for i in range(len(stages)) if stages[i + 1 : i + 2] != [stages[i]]]
