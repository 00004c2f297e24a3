"""Memory against the cost of a step, of every technique."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.reporting.figures import parts, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    size = (len(networks), len(layers))
    with parts.page(*size, height=2.2 * len(networks), sharex="row", sharey=True) as (figure, all_):
        for i, network in enumerate(networks):
            panels = all_[i * len(layers) : (i + 1) * len(layers)]
            own = {row["layer"]: row for row in plans if row["model"] == network}
            timed = all(map(_timed, own.values()))
            for axes, layer in zip(panels, layers, strict=True):
                if layer in own:
                    _panel(axes, own[layer], names, "step_seconds" if timed else "step_cost")
            # Of all panels, whose axis is shared.
            panels[0].set_xlim(left=0)
            panels[0].set_ylabel("Peak memory")
            panels[len(layers) // 2].set_xlabel(
                "Time of a step, measured" if timed else "Multiplications of a step"
            )
        all_[0].set_ylim(0, 1.1)
        return parts.save(figure, folder, "memory_cost", [], *_key(names, plans))


def _timed(row: Row) -> bool:
    return "step_seconds" in row["techniques"]["full size"]


def _panel(axes: "Axes", row: Row, names: Sequence[str], cost: str) -> None:
    ways, colour = row["techniques"], style.colour(row["layer"])
    plain = ways["full size"]
    for number, name in enumerate(names, start=1):
        way = ways.get(name)
        if way is None or cost not in way:
            continue
        at = way[cost] / plain[cost], way["peak_bytes"] / plain["peak_bytes"]
        full = way["schedule"] == "full"
        fill = style.filled("full" if full else "none")
        axes.plot(*at, marker="o", markersize=9, color=colour, linestyle="", **fill)
        axes.annotate(
            str(number),
            at,
            ha="center",
            va="center_baseline",
            fontsize=6,
            color="white" if full else "black",
        )
    axes.margins(x=0.1)
    axes.set_title(f"{row['model']}, {style.layer_name(row['layer'])}", loc="left", fontsize=8)


def _key(names: Sequence[str], plans: Sequence[Row]) -> list[str]:
    first = plans[0]
    numbered = [f"{number} {name}" for number, name in enumerate(names, start=1)]
    half = (len(numbered) + 1) // 2
    clips = {
        row["model"]: f"{row['model']} {'×'.join(map(str, row['measured_shape']))}"
        for row in plans
        if _timed(row)
    }
    return [
        "   ".join(numbered[:half]),
        "   ".join(numbered[half:]),
        "both as shares of plain full size; filled: full-size clips, open: ITSL (β=γ=2)",
        "peak: of the plan's step on CUDA, predicted; "
        f"time: {first['threads']} thread(s) on {first['device']}; {first['finished'][:10]}",
        *(["timed clips: " + ", ".join(clips.values())] if clips else []),
    ]
