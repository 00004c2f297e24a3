"""Training loss over epochs, a panel a mode, a line a layer."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.reporting.figures import parts, style
from suites.reporting.figures.groups import groups_of
from suites.reporting.measure import units

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMN = "train_loss"
_MOST_PANELS = 4


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes training_curves; nothing where no run has kept its losses.

    Lines are means over seeds, bands reach from the lowest to the highest seed; where runs of a
    group have kept different numbers of epochs, the epochs that all have.
    """
    curves: dict[str, dict[str, list[list[float]]]] = {}
    ends: dict[str, list[int]] = {}
    for group in groups_of(rows):
        found = [read_curve(row) for row in group.rows]
        if known := [losses for losses, _ in found if losses]:
            curves.setdefault(group.mode, {})[group.layer] = known
            ends[group.mode] = max([ends.get(group.mode, []), *(e for _, e in found)], key=len)
    if not curves:
        return []
    shown = list(curves)[:_MOST_PANELS]
    with parts.page(1, len(shown), sharey=True) as (figure, panels):
        for axes, mode in zip(panels, shown, strict=True):
            _lines(axes, curves[mode])
            for end in ends[mode][:-1]:
                axes.axvline(end + 0.5, color="#999999", linewidth=0.5, linestyle=":", zorder=0)
            axes.set_title(style.plain(mode) or "training", loc="left", fontsize=8)
        panels[0].set_ylabel("Training loss")
        parts.legend(figure, [layer for mode in shown for layer in curves[mode]])
        more = len(curves) - len(shown)
        return parts.save(
            figure,
            folder,
            "training_curves",
            [row for row in rows if row["status"] == "ok"],
            f"means over {units(rows)}, bands from the lowest to the highest {units(rows, 1)}, "
            "dotted: a stage ends" + (f"; {more} more modes are not drawn" if more else ""),
        )


def _lines(axes: "Axes", losses: dict[str, list[list[float]]]) -> None:
    import pandas as pd
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    lengths = {layer: min(map(len, known)) for layer, known in losses.items()}
    frame = pd.DataFrame(
        [
            (epoch, layer, loss)
            for layer, known in losses.items()
            for own in known
            for epoch, loss in enumerate(own[: lengths[layer]], start=1)
        ],
        columns=["epoch", "layer", "loss"],
    )
    layers = list(losses)
    sns.lineplot(
        frame,
        x="epoch",
        y="loss",
        hue="layer",
        palette={layer: style.colour(layer) for layer in layers},
        style="layer",
        markers={layer: style.marker(layer) for layer in layers},
        dashes=False,
        # The whole range.
        errorbar=("pi", 100),
        legend=False,
        linewidth=1.3,
        markevery=max(max(lengths.values()) // 5, 1),
        markersize=3.5,
        markeredgewidth=0,
        err_kws={"linewidth": 0},
        ax=axes,
    )
    axes.set(xlabel="Epoch", ylabel="")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


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
