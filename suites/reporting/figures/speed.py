"""How long each row trains, as a ratio to the first one."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.reporting.figures import style
from suites.reporting.figures.groups import Group, groups_of, new_figure, small_print
from suites.reporting.stats import Estimate, estimate

_MOST_ROWS = 16


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes speed_ratios; nothing where no two rows share seeds on one machine.

    Geometric means of the ratios at the same seed, with 95% intervals of their logarithms. Times
    of several machines do not compare: those of the one with most runs are taken.
    """
    timed = [row for row in rows if row["status"] == "ok" and (row.get("train_seconds") or 0) > 0]
    if not timed:
        return []
    machines = Counter((row.get("host"), row["device"], row.get("threads")) for row in timed)
    machine = machines.most_common(1)[0][0]
    own = [r for r in timed if (r.get("host"), r["device"], r.get("threads")) == machine]
    groups = groups_of(own)
    reference = groups[0]
    ratios = [(group, log_ratio(group, reference)) for group in groups[1:]]
    found = [(group, ratio) for group, ratio in ratios if ratio is not None][:_MOST_ROWS]
    if not found:
        return []
    names = [group.label for group, _ in found]
    with style.figure_style():
        figure, (axes,) = new_figure(1, left=0.3 + 0.065 * max(map(len, names)), right=0.5)
        for y, (group, ratio) in enumerate(found):
            middle = math.exp(ratio.mean)
            width = ratio.half_width or 0.0
            axes.errorbar(
                middle,
                y,
                xerr=[
                    [middle - math.exp(ratio.mean - width)],
                    [math.exp(ratio.mean + width) - middle],
                ],
                color=style.colour(group.layer),
                marker=style.marker(group.layer),
                markersize=6,
                capsize=2,
                elinewidth=1,
            )
            axes.annotate(
                f"{middle:.2f}×",
                (1.01, y),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                annotation_clip=False,
            )
        axes.axvline(1, color="#444444", linewidth=1, linestyle="--")
        axes.set_yticks(range(len(found)), names)
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.margins(x=0.1)
        axes.set_xlabel(f"Training time ÷ {reference.label}'s")
        axes.set_title("Training time, measured", loc="left")
        left_out = len(timed) - len(own)
        small_print(
            figure,
            own,
            "geometric means over shared seeds, bars: 95% intervals; dashed: as long as "
            + f"{reference.layer} {reference.mode}"
            + (f"; {left_out} runs of other machines are left out" if left_out else ""),
        )
        return style.save(figure, folder, "speed_ratios", tight=False)


def log_ratio(group: Group, reference: Group) -> Estimate | None:
    """Mean logarithm of the ratio of training times at the seeds that both have, or None."""
    a, b = ({row["seed"]: row["train_seconds"] for row in g.rows} for g in (group, reference))
    shared = sorted(a.keys() & b.keys())
    return estimate([math.log(a[seed] / b[seed]) for seed in shared]) if shared else None
