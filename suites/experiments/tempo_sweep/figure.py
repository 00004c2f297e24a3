"""Accuracy against test tempo: a panel a layer, a line a dilation in training and way."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of, under
from suites.experiments.tempo_sweep.tables import NETWORKS, TEMPI
from suites.reporting.figures import style
from suites.reporting.small_print import describe, where_and_when
from suites.reporting.stats import estimate

_LINES = {1: ":", 2: "--", 4: "-"}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes tempo_sweep; nothing where no run is ok."""
    ok = [row for row in rows if row["status"] == "ok"]
    layers = [layer for layer in layers_of(ok) if any(row["layer"] == layer for row in ok)]
    if not layers:
        return []
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, panels = plt.subplots(
            1,
            len(layers),
            figsize=(style.WIDTH, style.HEIGHT),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axes, layer in zip(panels[0], layers, strict=True):
            for mode, dilation in NETWORKS.items():
                for way in ("kept", "matched"):
                    points = []
                    for tempo in TEMPI:
                        group = under(ok, layer, mode, f"{way}_{tempo:g}")
                        values = [100 * row["accuracy"] for row in group]
                        if values:
                            points.append((tempo, estimate(values)))
                    if len(points) < 2 and way == "matched":
                        continue
                    axes.errorbar(
                        [tempo for tempo, _ in points],
                        [found.mean for _, found in points],
                        yerr=[found.half_width or 0.0 for _, found in points],
                        linestyle=_LINES[dilation],
                        color=style.colour(layer) if way == "matched" else "#888888",
                        marker=style.marker(layer),
                        markerfacecolor="white" if way == "kept" else style.colour(layer),
                        markersize=4,
                        capsize=2,
                        linewidth=1.2,
                        label=f"d={dilation}, {way}",
                    )
            axes.set_xscale("log", base=2)
            axes.set_xticks(TEMPI, [f"{tempo:g}" for tempo in TEMPI])
            axes.set_title(style.layer_name(layer), loc="left")
            axes.axhline(100 / ok[0]["classes"], color="#666666", linewidth=0.6)
        panels[0][0].set_ylabel("Clip accuracy, %")
        figure.supxlabel("Tempo of the test clips (training: 1)", fontsize=9)
        panels[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        style.caption(
            figure,
            [
                "d: temporal dilation in training; gray: kept in the test, coloured: d / tempo; "
                "bars: 95% intervals over seeds; line at the bottom: chance",
                describe(ok),
                where_and_when(ok),
            ],
        )
        return style.save(figure, folder, "tempo_sweep")
