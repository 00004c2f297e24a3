"""How fast the counted share of the dense layer nears MN/(tk²)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.engine.suite import Row
from suites.reporting.figures import parts, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart by marker and filling: all are STDCF, whose colour they keep.
_ATOMS = {(9, 3): "o", (6, 2): "s", (3, 2): "D", (3, 1): "^", (1, 1): "v"}
_SHARES = (2, 5, 10, 20, 50, 100, 200)


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes reduction.png and .svg from the 3×3² rows; nothing where there is none."""
    row = next((r for r in rows if r["status"] == "ok" and r["mode"] == "t3k3"), None)
    if row is None:
        return []
    with parts.page(1, 2, sharey=True) as (figure, panels):
        for axes, what, name in zip(
            panels, ("params", "macs"), ("Parameters", "Multiply-accumulates"), strict=True
        ):
            _panel(axes, row["measurements"], what)
            axes.set_title(name, loc="left")
        panels[0].set_yscale("log")
        panels[0].set_yticks(_SHARES, map(str, _SHARES))
        panels[0].set_ylabel("Share of the dense layer's, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
        return parts.save(
            figure,
            folder,
            "reduction",
            [],
            "3×3×3 filters; markers: counted; lines: the formulas of §2.4; dashed: MN/(tk²), "
            "which both near as channels grow",
            f"MACs of the factored form on {'×'.join(map(str, row['clip']))} clips; "
            f"{row['finished'][:10]}",
        )


def _panel(axes: "Axes", measurements: Sequence[Row], what: str) -> None:
    colour = style.colour("stdcf")
    for (m, n), marker in _ATOMS.items():
        own = [r for r in measurements if (r["spatial_atoms"], r["temporal_atoms"]) == (m, n)]
        if not own:
            continue
        channels = [one["channels"] for one in own]
        counted = [100 * one[what] / one[f"dense_{what}"] for one in own]
        formula = [100 * one[f"formula_{what}"] / one[f"formula_dense_{what}"] for one in own]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markerfacecolor": "white"}
        axes.plot(channels, counted, linestyle="none", label=f"M={m}, N={n}", **look)
        axes.axhline(100 * own[0]["limit"], color=colour, linewidth=0.8, linestyle="--")
        axes.plot(channels, formula, color=colour, linewidth=1)
    axes.axhline(100, color=style.colour("regular"), linewidth=1.2, label="Reg. 3D")
    ticks = sorted({one["channels"] for one in measurements})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set_xlabel("Channels, C → C")
