"""Degrees of freedom a pair of channels, and the error of the best fit against them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.experiments.capacity.tables import FAMILIES, errors
from suites.reporting.figures import style
from suites.reporting.small_print import describe
from suites.reporting.stats import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {
    "regular": style.LAYER_COLOURS["regular"],
    "rank1": style.LAYER_COLOURS["rank1"],
    "rank1_atoms": style.LAYER_COLOURS["rank1"],
    "stdcf": style.LAYER_COLOURS["stdcf"],
}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes capacity.png and .svg; nothing where no run is ok yet."""
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return []
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, (left, right) = plt.subplots(
            1, 2, figsize=(style.WIDTH, style.HEIGHT), layout="constrained"
        )
        _bars(left, ok[0])
        _curves(right, ok)
        style.caption(
            figure,
            [
                "left: numerical rank of parameters → filter at the most channels; hatched: rank-1 "
                "with filters made of M and N atoms, as §2.1.1 counts it",
                "right: 3×3×3 filters; filled: random, hollow: the last layer of a trained regular "
                "kth_cnn; labels M, N",
                describe(rows),
                f"{ok[0]['device']}; {ok[0]['finished'][:10]}; {len(ok)} seeds",
            ],
        )
        return style.save(figure, folder, "capacity")


def _bars(axes: "Axes", row: Row) -> None:
    most = max(one["channels"] for one in row["ranks"])
    shown = [one for one in row["ranks"] if one["channels"] == most]
    for y, one in enumerate(shown):
        value = one["rank"] / most**2
        axes.barh(
            y,
            value,
            height=0.65,
            color=_COLOURS[one["family"]],
            alpha=0.75,
            hatch="////" if one["family"] == "rank1_atoms" else None,
            edgecolor="white",
            linewidth=0,
        )
        axes.annotate(
            f"{value:.1f}",
            (value, y),
            textcoords="offset points",
            xytext=(3, 0),
            va="center",
            fontsize=8,
        )
    names = [
        FAMILIES[one["family"]]
        + (f"\nM={one['spatial_atoms']}, N={one['temporal_atoms']}" if one["spatial_atoms"] else "")
        for one in shown
    ]
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 31)
    axes.set_xlabel("Degrees of freedom ÷ C²")
    axes.set_title(f"C = {most}", loc="left")


def _curves(axes: "Axes", ok: Sequence[Row]) -> None:
    by_key = errors(ok)
    names = list(dict.fromkeys(key[0] for key in by_key))
    for name, filled in ((names[0], True), (names[-1], False)):
        for family in ("stdcf", "rank1"):
            points = []
            for (filters, own, m, n), fits in by_key.items():
                if (filters, own) == (name, family):
                    share = 100 * fits[0]["params"] / fits[0]["dense_params"]
                    mean = estimate([100 * fit["error"] for fit in fits]).mean
                    points.append((share, mean, f"{m}, {n}" if m else ""))
            points.sort()
            axes.plot(
                [x for x, _, _ in points],
                [y for _, y, _ in points],
                color=_COLOURS[family],
                marker=style.LAYER_MARKERS[family],
                markerfacecolor=_COLOURS[family] if filled else "white",
                markersize=6,
                linewidth=1,
                linestyle="-" if filled else "--",
                label=f"{FAMILIES[family]}, {'random' if filled else 'trained'}",
                zorder=3,
            )
            for i, (x, y, text) in enumerate(points if filled else ()):
                # Of two points side by side the first is named on the other side.
                close = i + 1 < len(points) and points[i + 1][0] - x < 3
                axes.annotate(
                    text,
                    (x, y),
                    textcoords="offset points",
                    xytext=(-5, -9) if close else (4, 4),
                    ha="right" if close else "left",
                    fontsize=7,
                )
    axes.set_xlim(right=112)
    axes.set_ylim(bottom=-4)
    axes.set_xlabel("Parameters, % of the dense filter's")
    axes.set_ylabel("Error of the best fit, %")
    axes.legend(fontsize=7)
