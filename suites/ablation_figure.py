"""An ablation as dots: accuracy of each setting beside the one that it changes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from suites.ablation_tables import BASE, Words, by_mode
from suites.engine.suite import Row
from suites.reporting.figures import style
from suites.reporting.small_print import describe, where_and_when
from suites.reporting.stats import estimate


def draw(
    rows: Sequence[Row], folder: Path, words: Mapping[str, Words], name: str, title: str
) -> list[Path]:
    """Writes `name`.png and .svg; nothing where no run is ok yet.

    Large marks are means, small points the seeds, whiskers 95% intervals; the band is the base's.
    """
    ok = [row for row in rows if row["status"] == "ok"]
    groups = {mode: group for mode, group in by_mode(ok, words).items() if group}
    if not groups:
        return []
    colour, marker = style.colour("stdcf"), style.marker("stdcf")
    with style.figure_style():
        import matplotlib.pyplot as plt

        height = 0.9 + 0.24 * len(groups)
        figure, axes = plt.subplots(figsize=(style.WIDTH, height), layout="constrained")
        last, place = None, -1.0
        places = []
        for mode, group in groups.items():
            # A gap between those that change different things.
            place += 1.0 if words[mode].group == last else 1.4
            last = words[mode].group
            places.append(place)
            values = [100 * row["accuracy"] for row in group]
            found = estimate(values)
            half = found.half_width or 0.0
            if mode == BASE:
                axes.axvspan(found.mean - half, found.mean + half, color=colour, alpha=0.12, lw=0)
                axes.axvline(found.mean, color=colour, linewidth=0.8, linestyle="--")
            axes.errorbar(
                found.mean,
                place,
                xerr=half or None,
                color=colour,
                marker=marker,
                markersize=6,
                markerfacecolor=colour if mode == BASE else "white",
                capsize=2.5,
                linewidth=1,
                zorder=3,
            )
            if len(values) > 1:
                axes.scatter(values, [place] * len(values), s=7, color="black", zorder=4)
        axes.set_yticks(
            places,
            [f"{words[mode].group}: {words[mode].label}" for mode in groups],
            fontsize=8,
        )
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("Clip accuracy, %")
        axes.set_title(title, loc="left")
        seeds = sorted({len(group) for group in groups.values()})
        style.caption(
            figure,
            [
                "STDCF in kth_cnn; diamonds: means, points: seeds, whiskers: 95% intervals; "
                "filled and dashed: Table 2's setting, band: its interval",
                describe([*groups.get(BASE, []), *ok]),
                f"{where_and_when(ok)}; "
                f"{' to '.join(dict.fromkeys(str(n) for n in (seeds[0], seeds[-1])))} "
                f"seed{'s' * (seeds[-1] > 1)}",
            ],
        )
        return style.save(figure, folder, name)
