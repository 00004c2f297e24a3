"""Table 1 as bars: each gap, each layer, without and with dilated atoms."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.experiments.kth_table1.tables import GAPS, papers
from suites.experiments.shared.conditions import layers_of, under
from suites.reporting.figures import style
from suites.reporting.small_print import describe, where_and_when
from suites.reporting.stats import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = 0.38


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes table1; nothing where no run is ok."""
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return []
    layers = [layer for layer in layers_of(ok) if any(row["layer"] == layer for row in ok)]
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, panels = plt.subplots(
            1, len(GAPS), figsize=(style.WIDTH, style.HEIGHT), sharey=True, layout="constrained"
        )
        for axes, gap in zip(panels, GAPS, strict=True):
            for x, layer in enumerate(layers):
                paper = papers(gap) if layer == "stdcf" else (None, None)
                for side, which, value in zip(
                    (-1, 1), (gap.plain, gap.dilated), paper, strict=True
                ):
                    group = under(ok, layer, *which)
                    _bar(axes, x + side * _BAR / 2, layer, side > 0, group, value)
            axes.set_xticks(range(len(layers)), [style.layer_name(layer) for layer in layers])
            axes.grid(visible=False, axis="x")
            axes.set_title(f"Trained on {gap.words.replace('→', '→ tested on')}", loc="left")
            chance = 100 / ok[0]["classes"]
            axes.axhline(chance, color="#666666", linewidth=0.8, linestyle=":")
        # An interval may reach below 0, an accuracy cannot.
        panels[0].set_ylim(bottom=0.0)
        panels[0].set_ylabel("Clip accuracy, %")
        _legend(panels[-1])
        style.caption(
            figure,
            [
                "bars: means, points: seeds, whiskers: 95% intervals; dashes: the paper, on KTH; "
                "dotted: chance",
                describe(ok),
                where_and_when(ok),
            ],
        )
        return style.save(figure, folder, "table1")


def _bar(
    axes: "Axes", x: float, layer: str, dilated: bool, group: Sequence[Row], paper: float | None
) -> None:
    values = [100 * row["accuracy"] for row in group]
    colour = style.colour(layer)
    if paper is not None:
        axes.hlines(paper, x - _BAR / 2, x + _BAR / 2, color="black", linestyle="--", lw=1.2)
    if not values:
        return
    found = estimate(values)
    axes.bar(
        x,
        found.mean,
        width=_BAR * 0.94,
        color=colour if dilated else "white",
        edgecolor=colour,
        linewidth=1.2,
        alpha=0.85,
    )
    if found.half_width is not None:
        axes.errorbar(x, found.mean, yerr=found.half_width, color="black", capsize=3, linewidth=1)
        axes.scatter([x] * len(values), values, s=9, color="black", zorder=3)
    top = max(found.mean + (found.half_width or 0), *values)
    axes.annotate(
        f"{found.mean:.1f}",
        (x, top),
        textcoords="offset points",
        xytext=(0, 3),
        ha="center",
        fontsize=8,
    )


def _legend(axes: "Axes") -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor="white", edgecolor="#444444", label="plain atoms"),
        Patch(facecolor="#444444", edgecolor="#444444", label="dilated atoms"),
    ]
    axes.legend(handles=handles, loc="upper right")
