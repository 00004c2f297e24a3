"""Figure 5: accuracy on full-size clips after every stage of ITSL."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.reporting.figures import parts, seeds, style
from suites.reporting.measure import WORDS, measure_of, units

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes figure5.png and figure5.svg; nothing where no ITSL run is there yet.

    One panel a layer. The number at each point is the gain over stage-t of iteration 1, as in the
    paper; dashed lines are full-size learning; bars are 95% intervals over seeds or folds.
    """
    ok = [row for row in rows if row["status"] == "ok"]
    key = measure_of(ok)
    itsl = [row for row in ok if row["mode"] == "itsl"]
    if not itsl:
        return []
    layers = style.in_order([row["layer"] for row in itsl])
    with parts.page(1, len(layers), sharey=True) as (figure, panels):
        for axes, layer in zip(panels, layers, strict=True):
            _panel(axes, layer, [row for row in ok if row["layer"] == layer], key)
        # Of all panels, whose axis is shared: an interval may reach below 0, an accuracy cannot.
        panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], 0.0))
        panels[0].set_ylabel(f"{WORDS[key].capitalize()}, on full-size clips, %")
        return parts.save(
            figure,
            folder,
            "figure5",
            itsl,
            "t: full time, half size; s: half time, full size; (gain over t1); dashed: full-size "
            f"learning; whiskers: 95% intervals; dots: {units(itsl)}",
        )


def _panel(axes: "Axes", layer: str, rows: Sequence[Row], key: str) -> None:
    itsl = [row for row in rows if row["mode"] == "itsl"]
    full = [100 * row[key] for row in rows if row["mode"] == "full"]
    stages = [stage["stage"] for stage in itsl[0]["stages"]]
    curves = [[100 * stage[key] for stage in row["stages"]] for row in itsl]
    samples = list(zip(*curves, strict=True))
    if full:
        axes.axhline(seeds.mean(full), color=style.colour(layer), linestyle="--", linewidth=1)
    seeds.points(axes, seeds.tidy((x, layer, y) for x, y in enumerate(samples)), joined=True)
    for place, values in enumerate(samples[1:], start=1):
        axes.annotate(
            f"({seeds.mean(values) - seeds.mean(samples[0]):+.1f})",
            (place, seeds.reach(values)[1]),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=6.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )
    axes.set_xticks(range(len(stages)), stages)
    axes.set_xlabel("After stage")
    axes.margins(x=0.12, y=0.15)
    axes.set_title(f"{style.plain(style.layer_name(layer))} (n={len(curves)})", loc="left")
