"""Accuracy against test tempo: a panel a layer, a line a dilation in training and way."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.engine.suite import Row
from suites.experiments.shared.conditions import under
from suites.experiments.tempo_sweep.tables import NETWORKS, TEMPI
from suites.reporting.figures import parts, seeds, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = {1: ":", 2: "--", 4: "-"}
_KEPT = "#888888"


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes tempo_sweep; nothing where no run is ok."""
    ok = [row for row in rows if row["status"] == "ok"]
    layers = style.in_order([row["layer"] for row in ok])
    if not layers:
        return []
    with parts.page(1, len(layers), sharey=True) as (figure, panels):
        for axes, layer in zip(panels, layers, strict=True):
            _panel(axes, ok, layer)
            axes.axhline(100 / ok[0]["classes"], color=parts.GRAY, linewidth=0.6)
        panels[0].set_ylabel("Clip accuracy, %")
        panels[len(layers) // 2].set_xlabel("Tempo of the test clips (training: 1)")
        panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return parts.save(
            figure,
            folder,
            "tempo_sweep",
            ok,
            "d: temporal dilation in training; gray: kept in the test, coloured: d / tempo; "
            "whiskers: 95% intervals over seeds; line at the bottom: chance",
        )


def _panel(axes: "Axes", ok: Sequence[Row], layer: str) -> None:
    # Before the points, whose places it decides.
    axes.set_xscale("log", base=2)
    for mode, dilation in NETWORKS.items():
        for way in ("kept", "matched"):
            frame = seeds.tidy(
                (tempo, layer, [100 * row["accuracy"] for row in group])
                for tempo in TEMPI
                if (group := under(ok, layer, mode, f"{way}_{tempo:g}"))
            )
            if way == "matched" and frame.place.nunique() < 2:
                continue
            look: dict[str, Any] = {"linestyle": _LINES[dilation], "color": style.colour(layer)}
            if way == "kept":
                look |= {"color": _KEPT, "markerfacecolor": "white"}
            seeds.points(axes, frame, joined=True, dots=False, markersize=4, **look)
            axes.plot([], [], marker=style.marker(layer), label=f"d={dilation}, {way}", **look)
    axes.set_xticks(TEMPI, [f"{tempo:g}" for tempo in TEMPI])
    axes.set_title(style.layer_name(layer), loc="left")
