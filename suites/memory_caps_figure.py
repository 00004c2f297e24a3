"""Memory against the cost of a step, of every technique."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suites import style
from suites.suite import Row


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes memory_cost: a panel a network, a point a technique and layer; nothing without plans.

    Where steps ran, their time stands for the cost; else multiplications do.
    """
    plans = [row for row in rows if row.get("techniques") and row["status"] == "ok"]
    if not plans:
        return []
    networks = list(dict.fromkeys(row["model"] for row in plans))
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, panels = plt.subplots(
            len(networks),
            1,
            figsize=(style.WIDTH, 0.9 * style.HEIGHT * len(networks)),
            squeeze=False,
            layout="constrained",
        )
        for axes, network in zip(panels[:, 0], networks, strict=True):
            _panel(axes, network, [row for row in plans if row["model"] == network])
        first = plans[0]
        style.caption(
            figure,
            [
                "peak of the plan's step on CUDA, predicted, against plain full size; filled: full "
                "size, open: ITSL (β=γ=2)",
                f"time: {first['threads']} thread(s) on {first['device']}; "
                f"{first['finished'][:10]}",
            ],
        )
        return style.save(figure, folder, "memory_cost")


def _panel(axes: Any, network: str, rows: Sequence[Row]) -> None:
    timed = all("step_seconds" in row["techniques"]["full size"] for row in rows)
    labels: dict[str, tuple[float, float]] = {}
    for row in rows:
        ways = row["techniques"]
        plain = ways["full size"]
        for name, way in ways.items():
            if timed and "step_seconds" not in way:
                continue
            cost = (
                way["step_seconds"] / plain["step_seconds"]
                if timed
                else way["step_cost"] / plain["step_cost"]
            )
            memory = way["peak_bytes"] / plain["peak_bytes"]
            axes.plot(
                cost,
                memory,
                color=style.colour(row["layer"]),
                marker=style.marker(row["layer"]),
                fillstyle="full" if way["schedule"] == "full" else "none",
                linestyle="",
                markersize=5.5,
            )
            labels.setdefault(name, (cost, memory))
    for name, (cost, memory) in labels.items():
        axes.annotate(
            name,
            (cost, memory),
            textcoords="offset points",
            xytext=(6, 3),
            fontsize=6.5,
        )
    for layer in style.in_order([row["layer"] for row in rows]):
        axes.plot(
            [],
            [],
            color=style.colour(layer),
            marker=style.marker(layer),
            linestyle="",
            label=style.LAYER_NAMES.get(layer, layer),
        )
    axes.legend(loc="upper right")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.12)
    axes.set_title(network, loc="left")
    axes.set_xlabel(
        "Time of a step against plain full size" if timed else "Multiplications of a step, likewise"
    )
    axes.set_ylabel("Peak memory, likewise")
