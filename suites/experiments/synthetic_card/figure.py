"""The synthetic data set's card as bars: accuracy of each condition beside chance."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.experiments.synthetic_card.tables import CONDITIONS, by_condition
from suites.reporting.figures import style
from suites.reporting.small_print import describe, where_and_when
from suites.reporting.stats import estimate


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes card.png and card.svg; nothing where no run is ok yet.

    Bars are means over seeds, points the seeds, whiskers 95% intervals, the dashed line is chance.
    """
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return []
    groups = {mode: group for mode, group in by_condition(ok).items() if group}
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(style.WIDTH, style.HEIGHT), layout="constrained")
        for x, group in enumerate(groups.values()):
            values = [100 * row["accuracy"] for row in group]
            found = estimate(values)
            top = min(found.mean + (found.half_width or 0.0), 100)
            axes.bar(x, found.mean, width=0.6, color=style.LAYER_COLOURS["regular"], alpha=0.75)
            if found.half_width is not None:
                axes.errorbar(x, found.mean, yerr=found.half_width, color="black", capsize=3)
                axes.scatter([x] * len(values), values, s=9, color="black", zorder=3)
            axes.annotate(
                f"{found.mean:.1f}",
                (x, top),
                textcoords="offset points",
                xytext=(0, 4),
                ha="center",
                fontsize=8,
            )
        chance = 100 / ok[0]["classes"]
        axes.axhline(chance, color="#444444", linestyle="--", linewidth=1)
        axes.annotate(
            f"chance {chance:.1f}",
            (1, chance),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(-4, 3),
            ha="right",
            fontsize=7,
        )
        shapes = {
            mode: "×".join(str(n) for n in group[0]["clip_shape"][1:])
            for mode, group in groups.items()
        }
        axes.set_xticks(
            range(len(groups)),
            [
                f"{CONDITIONS[mode].name}\n{shapes[mode]} (n={len(group)})"
                for mode, group in groups.items()
            ],
        )
        axes.grid(visible=False, axis="x")
        axes.set_ylim(0, 108)
        axes.set_yticks(range(0, 101, 20))
        axes.set_ylabel("Clip accuracy, %")
        axes.set_title("Synthetic clips: what they ask of time and of detail", loc="left")
        style.caption(
            figure,
            [
                "kth_cnn with regular layers, trained and tested on the same kind of clips; "
                "bars: means over n seeds; whiskers: 95% intervals; dashed: chance",
                describe([*groups.get("full_clip", []), *ok]),
                where_and_when(ok),
            ],
        )
        return style.save(figure, folder, "card")
