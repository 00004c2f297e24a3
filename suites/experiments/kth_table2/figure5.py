"""Figure 5: accuracy on full-size clips after every stage of ITSL."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.reporting.figures import style
from suites.reporting.small_print import describe, where_and_when
from suites.reporting.stats import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes figure5.png and figure5.svg; nothing where no ITSL run is there yet.

    One panel a layer. The number at each point is the gain over stage-t of iteration 1, as in the
    paper; dashed lines are full-size learning; bars are 95% intervals over seeds.
    """
    itsl = [row for row in rows if row["mode"] == "itsl" and row["status"] == "ok"]
    if not itsl:
        return []
    with style.figure_style():
        import matplotlib.pyplot as plt

        layers = style.in_order([row["layer"] for row in itsl])
        figure, panels = plt.subplots(
            1,
            len(layers),
            figsize=(style.WIDTH, style.HEIGHT),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axes, layer in zip(panels[0], layers, strict=True):
            _panel(axes, layer, rows)
        # Of all panels, whose axis is shared: an interval may reach below 0, an accuracy cannot.
        panels[0][0].set_ylim(bottom=max(panels[0][0].get_ylim()[0], 0.0))
        panels[0][0].set_ylabel("Clip accuracy on full-size clips, %")
        figure.supxlabel(
            "After stage (t: full time, half size; s: half time, full size)", fontsize=9
        )
        style.caption(
            figure,
            [
                "(gain over t1); dashed: full-size learning; bars: 95% intervals over seeds",
                describe(rows),
                where_and_when(itsl),
            ],
        )
        return style.save(figure, folder, "figure5")


def _panel(axes: "Axes", layer: str, rows: Sequence[Row]) -> None:
    own = [row for row in rows if row["layer"] == layer and row["status"] == "ok"]
    itsl = [row for row in own if row["mode"] == "itsl"]
    full = [100 * row["accuracy"] for row in own if row["mode"] == "full"]
    colour = style.colour(layer)
    stages = [stage["stage"] for stage in itsl[0]["stages"]]
    curves = [[100 * stage["accuracy"] for stage in row["stages"]] for row in itsl]
    found = [estimate(values) for values in zip(*curves, strict=True)]
    if full:
        axes.axhline(estimate(full).mean, color=colour, linestyle="--", linewidth=1)
    axes.errorbar(
        range(len(stages)),
        [e.mean for e in found],
        yerr=[e.half_width or 0.0 for e in found],
        color=colour,
        marker=style.marker(layer),
        markersize=5,
        capsize=2,
        elinewidth=1,
    )
    for x, e in enumerate(found[1:], start=1):
        axes.annotate(
            f"({e.mean - found[0].mean:+.1f})",
            (x, e.mean + (e.half_width or 0.0)),
            textcoords="offset points",
            xytext=(0, 5),
            ha="center",
            fontsize=6.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )
    axes.set_xticks(range(len(stages)), stages)
    axes.margins(x=0.12, y=0.15)
    axes.set_title(f"{style.plain(style.layer_name(layer))} (n={len(curves)})", loc="left")
