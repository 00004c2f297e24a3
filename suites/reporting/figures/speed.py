"""How long each row trains, as a ratio to the first one."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suites.engine.suite import Row
from suites.reporting.figures import parts, seeds
from suites.reporting.figures.groups import Group, groups_of
from suites.reporting.measure import units

_MOST_ROWS = 16


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes speed_ratios; nothing where no two rows share seeds on one machine.

    Geometric means of the ratios at the same seed, with 95% intervals of their logarithms. Times
    of several machines do not compare: those of the one with most runs are taken.
    """
    timed = [row for row in rows if row["status"] == "ok" and (row.get("train_seconds") or 0) > 0]
    if not timed:
        return []
    machines = Counter(map(_machine, timed))
    own = [row for row in timed if _machine(row) == machines.most_common(1)[0][0]]
    reference, *others = groups_of(own)
    found = [(group, known) for group in others if (known := ratios(group, reference))]
    found = found[:_MOST_ROWS]
    if not found:
        return []
    with parts.page() as (figure, (axes,)):
        from matplotlib.ticker import LogLocator, MaxNLocator

        # Before the points, whose means it makes geometric.
        axes.set_xscale("log")
        frame = seeds.tidy((y, group.layer, known) for y, (group, known) in enumerate(found))
        seeds.points(axes, frame, across=True, dots=False)
        axes.axvline(1, color=parts.GRAY, linewidth=1, linestyle="--")
        low, high = axes.get_xlim()
        wide = high > 4 * low
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(8, steps=(1, 2, 5, 10))
        )
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_yticks(range(len(found)), [group.label for group, _ in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        for y, (_, known) in enumerate(found):
            axes.annotate(
                f"{math.exp(seeds.mean(map(math.log, known))):.2f}×",
                (1.01, y),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                annotation_clip=False,
            )
        axes.set_xlabel(f"Training time ÷ {reference.label}'s")
        axes.set_title("Training time, measured", loc="left")
        left_out = len(timed) - len(own)
        return parts.save(
            figure,
            folder,
            "speed_ratios",
            own,
            f"geometric means over shared {units(own)}, whiskers: 95% intervals; dashed: as long "
            + f"as {reference.layer} {reference.mode}"
            + (f"; {left_out} runs of other machines are left out" if left_out else ""),
        )


def _machine(row: Row) -> tuple[Any, ...]:
    return row.get("host"), row["device"], row.get("threads")


def ratios(group: Group, reference: Group) -> list[float]:
    """Of training times, at the seeds and folds that both have."""
    a, b = (
        {(row.get("fold") or "", row["seed"]): row["train_seconds"] for row in g.rows}
        for g in (group, reference)
    )
    return [a[key] / b[key] for key in sorted(a.keys() & b.keys())]
