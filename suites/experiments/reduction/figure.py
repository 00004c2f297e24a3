"""How fast the counted share of the dense layer nears MN/(tk²)."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.reporting.figures import style

# Told apart by marker and filling: all are STDCF, whose colour they keep.
_ATOMS = {(9, 3): "o", (6, 2): "s", (3, 2): "D", (3, 1): "^", (1, 1): "v"}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes reduction.png and .svg from the 3×3² rows; nothing where there is none."""
    row = next((r for r in rows if r["status"] == "ok" and r["mode"] == "t3k3"), None)
    if row is None:
        return []
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, panels = plt.subplots(
            1, 2, figsize=(style.WIDTH, style.HEIGHT), sharey=True, layout="constrained"
        )
        colour = style.LAYER_COLOURS["stdcf"]
        ticks = sorted({one["channels"] for one in row["measurements"]})
        for axes, what, name in zip(
            panels, ("params", "macs"), ("Parameters", "Multiply-accumulates"), strict=True
        ):
            for (m, n), marker in _ATOMS.items():
                own = [
                    one
                    for one in row["measurements"]
                    if (one["spatial_atoms"], one["temporal_atoms"]) == (m, n)
                ]
                if not own:
                    continue
                channels = [one["channels"] for one in own]
                axes.plot(
                    channels,
                    [100 * one[what] / one[f"dense_{what}"] for one in own],
                    color=colour,
                    marker=marker,
                    markerfacecolor="white",
                    linestyle="none",
                    label=f"M={m}, N={n}",
                )
                axes.axhline(100 * own[0]["limit"], color=colour, linewidth=0.8, linestyle="--")
                axes.plot(
                    channels,
                    [100 * one[f"formula_{what}"] / one[f"formula_dense_{what}"] for one in own],
                    color=colour,
                    linewidth=1,
                )
            axes.axhline(100, color=style.LAYER_COLOURS["regular"], linewidth=1.2, label="Reg. 3D")
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [str(c) for c in ticks])
            axes.minorticks_off()
            axes.set_xlabel("Channels, C → C")
            axes.set_title(name, loc="left")
        panels[0].set_yscale("log")
        shares = [2, 5, 10, 20, 50, 100, 200]
        panels[0].set_yticks(shares, [str(share) for share in shares])
        panels[0].set_ylabel("Share of the dense layer's, %")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
        style.caption(
            figure,
            [
                "3×3×3 filters; markers: counted; lines: the formulas of §2.4; dashed: MN/(tk²), "
                "which both near as channels grow",
                f"MACs of the factored form on {'×'.join(map(str, row['clip']))} clips; "
                f"{row['finished'][:10]}",
            ],
        )
        return style.save(figure, folder, "reduction")
