"""The synthetic data set's card as bars: accuracy of each condition beside chance."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.experiments.synthetic_card.tables import CONDITIONS, by_condition
from suites.reporting.figures import parts, seeds


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes card.png and card.svg; nothing where no run is ok yet.

    Bars are means over seeds, dots the seeds, whiskers 95% intervals, the dashed line is chance.
    """
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return []
    groups = {mode: group for mode, group in by_condition(ok).items() if group}
    with parts.page() as (figure, (axes,)):
        frame = seeds.tidy(
            (x, "regular", [100 * row["accuracy"] for row in group])
            for x, group in enumerate(groups.values())
        )
        seeds.bars(axes, frame, width=0.6, alpha=0.75)
        chance = 100 / ok[0]["classes"]
        axes.axhline(chance, color=parts.GRAY, linestyle="--", linewidth=1)
        axes.annotate(
            f"chance {chance:.1f}",
            (1, chance),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=7,
        )
        names = []
        for mode, group in groups.items():
            shape = "×".join(str(n) for n in group[0]["clip_shape"][1:])
            names.append(f"{CONDITIONS[mode].name}\n{shape} (n={len(group)})")
        axes.set_xticks(range(len(groups)), names)
        axes.set(xlim=(-0.5, len(groups) - 0.2), ylim=(0, 108), yticks=range(0, 101, 20))
        axes.set_ylabel("Clip accuracy, %")
        axes.set_title("Synthetic clips: what they ask of time and of detail", loc="left")
        return parts.save(
            figure,
            folder,
            "card",
            [*groups.get("full_clip", []), *ok],
            "kth_cnn with regular layers, trained and tested on the same kind of clips; bars: "
            "means over n seeds; dots: seeds; whiskers: 95% intervals; dashed: chance",
        )
