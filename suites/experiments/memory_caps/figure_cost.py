"""Memory against the cost of a step, of every technique."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suites.engine.suite import Row
from suites.reporting.figures import style


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes memory_cost: a row a network, a panel a layer, a number a technique; nothing without
    plans.

    Where steps ran, their time stands for the cost; else multiplications do.
    """
    plans = [row for row in rows if row.get("techniques") and row["status"] == "ok"]
    if not plans:
        return []
    networks = list(dict.fromkeys(row["model"] for row in plans))
    layers = style.in_order([row["layer"] for row in plans])
    names = list(dict.fromkeys(name for row in plans for name in row["techniques"]))
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, panels = plt.subplots(
            len(networks),
            len(layers),
            figsize=(style.WIDTH, 2.4 * len(networks)),
            sharex="row",
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for i, network in enumerate(networks):
            own = [row for row in plans if row["model"] == network]
            timed = all("step_seconds" in row["techniques"]["full size"] for row in own)
            for j, layer in enumerate(layers):
                row = next((row for row in own if row["layer"] == layer), None)
                if row is not None:
                    _panel(panels[i, j], row, names, timed)
            panels[i, 0].set_ylabel("Peak memory")
            panels[i, len(layers) // 2].set_xlabel(
                "Time of a step, measured" if timed else "Multiplications of a step"
            )
        figure.text(
            0.0,
            -0.01,
            style.plain(_key(names, plans)),
            fontsize=7,
            color="#444444",
            va="top",
        )
        return style.save(figure, folder, "memory_cost")


def _panel(axes: Any, row: Row, names: Sequence[str], timed: bool) -> None:
    ways = row["techniques"]
    plain = ways["full size"]
    cost = "step_seconds" if timed else "step_cost"
    for number, name in enumerate(names, start=1):
        way = ways.get(name)
        if way is None or cost not in way:
            continue
        x, y = way[cost] / plain[cost], way["peak_bytes"] / plain["peak_bytes"]
        full, own = way["schedule"] == "full", style.colour(row["layer"])
        axes.plot(
            x,
            y,
            marker="o",
            markersize=9,
            color=own,
            markerfacecolor=own if full else "white",
            linestyle="",
        )
        axes.annotate(
            str(number),
            (x, y),
            ha="center",
            va="center_baseline",
            fontsize=6,
            color="white" if full else "black",
        )
    axes.set_ylim(0, 1.1)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.set_title(f"{row['model']}, {style.layer_name(row['layer'])}", loc="left", fontsize=8)


def _key(names: Sequence[str], plans: Sequence[Row]) -> str:
    first = plans[0]
    sizes = {
        row["model"]: "×".join(map(str, row["measured_shape"]))
        for row in plans
        if "step_seconds" in row["techniques"]["full size"]
    }
    words = [f"{number} {name}" for number, name in enumerate(names, start=1)]
    half = (len(words) + 1) // 2
    return "\n".join(
        [
            "   ".join(words[:half]),
            "   ".join(words[half:]),
            "both as shares of plain full size; filled: full-size clips, open: ITSL (β=γ=2)",
            "peak: of the plan's step on CUDA, predicted; "
            f"time: {first['threads']} thread(s) on {first['device']}; {first['finished'][:10]}",
            *(["timed clips: " + ", ".join(f"{k} {v}" for k, v in sizes.items())] if sizes else []),
        ]
    )
