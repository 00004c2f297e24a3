"""Accuracy and peak memory of every technique under one cap."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suites.engine.suite import Row
from suites.experiments.memory_caps.techniques import in_suite_order, split_mode
from suites.reporting.figures import style
from suites.reporting.stats import estimate

MIB = 2**20
FILLS = {"epochs": "none", "computation": "full"}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes accuracy_under_cap: a line a layer and technique; nothing without trained runs."""
    trained = in_suite_order(
        [row for row in rows if row["status"] == "ok" and isinstance(row.get("accuracy"), float)]
    )
    if not trained:
        return []
    lines = list(dict.fromkeys((row["layer"], split_mode(row["mode"])[0]) for row in trained))
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, (left, right) = plt.subplots(
            1,
            2,
            figsize=(style.WIDTH, 1.2 + 0.24 * len(lines)),
            sharey=True,
            width_ratios=(3, 2),
            layout="constrained",
        )
        for place, line in enumerate(lines):
            own = [row for row in trained if (row["layer"], split_mode(row["mode"])[0]) == line]
            _line(left, right, place, own)
        left.set_yticks(
            range(len(lines)), [f"{style.layer_name(layer)} {name}" for layer, name in lines]
        )
        left.invert_yaxis()
        left.set_xlabel("Clip accuracy, %")
        right.set_xlabel("Measured peak memory, MiB")
        caps = {row["cap_bytes"] for row in trained if row.get("cap_bytes")}
        if len(caps) == 1:
            cap = caps.pop() / MIB
            right.axvline(cap, color="#444444", linestyle="--", linewidth=1)
            right.set_xlim(0, 1.12 * cap)
        style.caption(figure, _small_print(trained, bool(caps)))
        return style.save(figure, folder, "accuracy_under_cap")


def _line(left: Any, right: Any, place: int, rows: Sequence[Row]) -> None:
    for mode in dict.fromkeys(row["mode"] for row in rows):
        own = [row for row in rows if row["mode"] == mode]
        found = estimate([100 * row["accuracy"] for row in own])
        look = {
            "color": style.colour(own[0]["layer"]),
            "marker": style.marker(own[0]["layer"]),
            "fillstyle": "left" if mode.startswith("itsl") else FILLS[split_mode(mode)[1]],
            "markerfacecoloralt": "white",
        }
        left.errorbar(found.mean, place, xerr=found.half_width, capsize=2, elinewidth=1, **look)
    peak = estimate([row["measured_peak_bytes"] / MIB for row in rows]).mean
    right.plot(peak, place, **(look | {"fillstyle": "full"}))
    right.annotate(
        f"{rows[0]['batch_size']} clips",
        (peak, place),
        xytext=(-8, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=7,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _small_print(rows: Sequence[Row], capped: bool) -> list[str]:
    from suites.experiments.memory_caps.tables import trained_on

    first = rows[0]
    counts = sorted({sum(r["mode"] == row["mode"] for r in rows) for row in rows})
    seeds = sorted({row["seed"] for row in rows})
    return [
        "open: as many epochs as a stage of ITSL; filled: ITSL's computation, 2.25 times as much; "
        "half: ITSL" + ("; dashed: the cap" if capped else ""),
        f"{trained_on(rows)}; {len(seeds)} seed(s)"
        + (", bars: 95% intervals" if counts[-1] > 1 else ""),
        f"{first['device']}; {max(row['finished'] for row in rows)[:10]}",
    ]
