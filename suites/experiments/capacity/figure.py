"""Degrees of freedom a pair of channels, and the error of the best fit against them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.engine.suite import Row
from suites.experiments.capacity.tables import FAMILIES, errors
from suites.reporting.figures import parts, seeds, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes capacity.png and .svg; nothing where no run is ok yet."""
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return []
    with parts.page(1, 2) as (figure, (left, right)):
        _bars(left, ok[0]["ranks"])
        _curves(right, ok)
        return parts.save(
            figure,
            folder,
            "capacity",
            ok,
            "left: numerical rank of parameters → filter at the most channels; hatched: rank-1 "
            "with filters made of M and N atoms, as §2.1.1 counts it",
            "right: 3×3×3 filters; filled: random, hollow: the last layer of a trained regular "
            f"kth_cnn; labels M, N; means over {len(ok)} seeds, whiskers: 95% intervals",
        )


def _bars(axes: "Axes", ranks: Sequence[Row]) -> None:
    most = max(one["channels"] for one in ranks)
    shown = [one for one in ranks if one["channels"] == most]
    drawn = axes.barh(
        range(len(shown)),
        [one["rank"] / most**2 for one in shown],
        height=0.65,
        color=[style.colour(one["family"].removesuffix("_atoms")) for one in shown],
        alpha=0.75,
        hatch=["////" if one["family"] == "rank1_atoms" else "" for one in shown],
        edgecolor="white",
        linewidth=0,
    )
    axes.bar_label(drawn, fmt="{:.1f}", padding=3, fontsize=8)
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
            fits = {key[2:]: own for key, own in by_key.items() if key[:2] == (name, family)}
            shares = {k: 100 * own[0]["params"] / own[0]["dense_params"] for k, own in fits.items()}
            frame = seeds.tidy(
                (shares[atoms], family, [100 * fit["error"] for fit in own])
                for atoms, own in fits.items()
            )
            look: dict[str, Any] = {} if filled else {"linestyle": "--", "markerfacecolor": "white"}
            seeds.points(axes, frame, joined=True, dots=False, **look)
            look |= {"color": style.colour(family), "marker": style.marker(family)}
            kind = "random" if filled else "trained"
            axes.plot([], [], linewidth=1.2, label=f"{FAMILIES[family]}, {kind}", **look)
            if filled:
                heights = frame.groupby("place").value.mean()
                _name(axes, {k: (x, heights[x]) for k, x in shares.items() if any(k)})
    axes.set_xlim(right=112)
    axes.set_ylim(bottom=-4)
    axes.set_xlabel("Parameters, % of the dense filter's")
    axes.set_ylabel("Error of the best fit, %")
    axes.legend(fontsize=7)


def _name(axes: "Axes", places: dict[tuple[int, int], tuple[float, float]]) -> None:
    for (m, n), (x, y) in places.items():
        # Of two points side by side the first is named on the other side.
        close = any(0 < other - x < 3 for other, _ in places.values())
        axes.annotate(
            f"{m}, {n}",
            (x, y),
            xytext=(-5, -9) if close else (4, 4),
            textcoords="offset points",
            ha="right" if close else "left",
            fontsize=7,
        )
