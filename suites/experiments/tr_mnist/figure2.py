"""Figure 2: frames of a test clip, what each layer makes of them, and the ratios of all runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from suites.engine.suite import Row
from suites.experiments.tr_mnist.tables import EQUAL_WIDTH, LINES, of, paper_db
from suites.reporting.figures import style
from suites.reporting.pictures import unpacked
from suites.reporting.small_print import describe, where_and_when
from suites.reporting.stats import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes figure2 (frames of equal width, first seed) and psnr; nothing where no run is ok."""
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return []
    small_print = [describe(ok), where_and_when(ok)]
    return [*_strip(ok, folder, small_print), *_ratios(ok, folder, small_print)]


def frames(row: Row, what: str) -> np.ndarray:
    """uint8 [clips, frames, H, W] of a row's strip: "input" or "output"."""
    strip = row["strip"]
    return unpacked(strip[what], (len(strip["frames"]), *row["clip_shape"][2:]))


def _strip(ok: Sequence[Row], folder: Path, small_print: Sequence[str]) -> list[Path]:
    shown = {line: of(ok, line) for line in LINES if line.mode == EQUAL_WIDTH}
    first = {line: min(own, key=lambda r: r["seed"]) for line, own in shown.items() if own}
    if not first:
        return []
    one = next(iter(first.values()))
    lines = [("Input", frames(one, "input")[0], "black")]
    for line, row in first.items():
        name = f"{line.name.replace(' M', chr(10) + 'M')}\n{row['psnr_db_of_clips'][0]:.1f} dB"
        lines.append((name, frames(row, "output")[0], style.colour(line.layer)))
    with style.figure_style():
        import matplotlib.pyplot as plt

        count = len(one["strip"]["frames"])
        side = style.WIDTH / (count + 1.2)
        figure, panels = plt.subplots(
            len(lines),
            count,
            figsize=(style.WIDTH, side * len(lines) + 0.3),
            squeeze=False,
            layout="constrained",
        )
        for axes_line, (name, images, colour) in zip(panels, lines, strict=True):
            for axes, image in zip(axes_line, images, strict=True):
                axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(visible=False)
            axes_line[0].set_ylabel(
                name, rotation=0, ha="right", va="center", color=colour, fontsize=8
            )
        for axes, frame in zip(panels[0], one["strip"]["frames"], strict=True):
            axes.set_title(f"frame {frame}", fontsize=8)
        style.caption(
            figure,
            [
                f"the first test clip, at equal width ({one['widths'][0]} channels), seed "
                f"{one['seed']}; dB: its peak signal-to-noise ratio",
                *small_print,
            ],
        )
        return style.save(figure, folder, "figure2")


def _ratios(ok: Sequence[Row], folder: Path, small_print: Sequence[str]) -> list[Path]:
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(style.WIDTH, style.HEIGHT), layout="constrained")
        ticks: list[tuple[float, str]] = []
        places: dict[str, list[float]] = {}
        x = -1.0
        for line in LINES:
            group = of(ok, line)
            if not group:
                continue
            x += 1.0 if line.compared_at in places else 1.6
            places.setdefault(line.compared_at, []).append(x)
            # Three lines each, so that the numbers stand side by side.
            name = line.name.replace(" M", "\nM") if line.atoms else f"{line.name}\n"
            ticks.append((x, f"{name}\n{group[0]['params']:,}"))
            _bar(axes, x, line.layer, [row["psnr_db"] for row in group])
            paper = paper_db(line.layer)
            if paper is not None and line.mode == EQUAL_WIDTH:
                axes.hlines(paper, x - 0.4, x + 0.4, color="black", linestyle="--", lw=1.2)
        axes.hlines([], 0, 0, color="black", linestyle="--", lw=1.2, label="paper")
        for name, own in places.items():
            middle = (own[0] + own[-1]) / 2
            axes.annotate(
                name, (middle, 0.98), xycoords=("data", "axes fraction"), ha="center", va="top"
            )
        papers = [db for db in map(paper_db, style.LAYER_NAMES) if db is not None]
        shown = [row["psnr_db"] for row in ok] + papers
        axes.set_ylim(min(shown) - 2, max(shown) + 2.5)
        axes.set_xticks([x for x, _ in ticks], [name for _, name in ticks], fontsize=7)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("Mean test PSNR, dB")
        axes.set_xlabel("Layer, parameters of the network")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        style.caption(
            figure,
            [
                "bars: means over seeds; points: seeds; whiskers: 95% intervals; the axis does not "
                f"begin at 0; a black clip has {ok[0]['black_psnr_db']:.1f} dB",
                *small_print,
            ],
        )
        return style.save(figure, folder, "psnr")


def _bar(axes: "Axes", x: float, layer: str, values: Sequence[float]) -> None:
    found = estimate(values)
    axes.bar(x, found.mean, width=0.8, color=style.colour(layer), alpha=0.75)
    if found.half_width is not None:
        axes.errorbar(x, found.mean, yerr=found.half_width, color="black", capsize=3)
        axes.scatter([x] * len(values), values, s=9, color="black", zorder=3)
    axes.annotate(
        f"{found.mean:.2f}",
        (x, found.mean + (found.half_width or 0)),
        textcoords="offset points",
        xytext=(0, 4),
        ha="center",
        fontsize=8,
    )
