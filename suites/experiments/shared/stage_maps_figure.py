"""Maps of two stages' networks laid over frames, and how much of them lies where clips move."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of
from suites.experiments.shared.stage_maps import after, stage_words, stages_of
from suites.reporting.figures import style
from suites.reporting.pictures import unpacked
from suites.reporting.small_print import describe, where_and_when
from suites.reporting.stats import estimate

_SHOWN_LAYER = "stdcf"
_LINE = 24  # characters beside a picture


def draw(rows: Sequence[Row], folder: Path, name: str, what: str) -> list[Path]:
    """Writes the maps of STDCF's first seed as `name`, and the numbers as `name`_on_motion.

    Args:
        what: the map, in words for the small print.
    """
    ok = [row for row in rows if row["status"] == "ok" and row.get("looks")]
    if not ok:
        return []
    row = next((r for r in ok if r["layer"] == _SHOWN_LAYER and r.get("pictures")), None)
    maps = []
    if row is not None:
        lines = [
            f"STDCF, seed {row['seed']}; {what}, over the frames; the brighter the more, each "
            "network's own scale; beside it what the network takes the clip for",
            describe(ok),
            where_and_when(ok),
        ]
        maps = overlays(row["pictures"], stage_words, lines, folder, name)
    return [*maps, *_numbers(ok, folder, name)]


def overlays(
    pictures: Sequence[dict[str, Any]],
    words: Any,
    small_print: Sequence[str],
    folder: Path,
    name: str,
) -> list[Path]:
    """Each clip's frames, and below them each network's map over them.

    Args:
        words: from a network's name in the pictures to what it is called.
    """
    with style.figure_style():
        import matplotlib.pyplot as plt

        count = max(len(picture["frames"]) for picture in pictures)
        lines = sum(1 + len(picture["maps"]) for picture in pictures)
        side = style.WIDTH / (count + 1.6)
        height = sum(
            side * picture["size"][0] / picture["size"][1] * (1 + len(picture["maps"]))
            for picture in pictures
        )
        figure, panels = plt.subplots(
            lines,
            count,
            figsize=(style.WIDTH, height + 0.15 * lines),
            squeeze=False,
        )
        # A layout engine would measure every panel, which takes longer than drawing them.
        figure.subplots_adjust(left=0.28, right=1, bottom=0.02, top=0.98, wspace=0.05, hspace=0.24)
        for axes in panels.flat:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
        rest = iter(panels)
        for picture in pictures:
            frames = unpacked(picture["input"], picture["size"])
            line = next(rest)
            _name(line[0], f"input: {picture['label']}")
            for axes, frame, number in zip(line, frames, picture["frames"], strict=False):
                axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
                axes.set_title(f"frame {number}", fontsize=8)
            for network, seen in picture["maps"].items():
                line = next(rest)
                (best, probability), *_ = seen["top"]
                _name(line[0], f"{words(network)}\n“{best}” {100 * probability:.0f}%")
                maps = unpacked(seen["map"], seen["size"])
                rows, columns = picture["size"]
                for axes, frame, found in zip(line, frames, maps, strict=False):
                    axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
                    axes.imshow(
                        found,
                        cmap="inferno",
                        vmin=0,
                        vmax=255,
                        alpha=0.6,
                        extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
                        interpolation="bilinear",
                    )
        style.caption(figure, small_print)
        return style.save(figure, folder, name)


def _name(axes: Any, words: str) -> None:
    lines = (fill(line, _LINE) for line in words.splitlines())
    axes.set_ylabel(style.plain("\n".join(lines)), rotation=0, ha="right", va="center", fontsize=8)


def _numbers(ok: Sequence[Row], folder: Path, name: str) -> list[Path]:
    layers = [layer for layer in layers_of(ok) if any(row["layer"] == layer for row in ok)]
    stages = stages_of(ok)
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, panels = plt.subplots(
            1, 2, figsize=(style.WIDTH, style.HEIGHT * 0.8), layout="constrained"
        )
        columns = {"accuracy": "Clip accuracy, %", "on_motion": "Map on motion, %"}
        for axes, (column, label) in zip(panels, columns.items(), strict=True):
            for place, layer in enumerate(layers):
                shift = 0.1 * (place - (len(layers) - 1) / 2)
                own = [row for row in ok if row["layer"] == layer]
                found = [
                    estimate([100 * row[column] for row in after(own, stage)]) for stage in stages
                ]
                axes.errorbar(
                    [x + shift for x in range(len(stages))],
                    [one.mean for one in found],
                    yerr=[one.half_width or 0.0 for one in found],
                    color=style.colour(layer),
                    marker=style.marker(layer),
                    markersize=5,
                    capsize=2.5,
                    linewidth=1.2,
                    label=style.layer_name(layer),
                )
            axes.set_xticks(range(len(stages)), [stage_words(stage) for stage in stages])
            axes.set_xlim(-0.4, len(stages) - 0.6)
            axes.set_ylabel(label)
        panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], 0.0))
        panels[1].axhline(10, color="#666666", linewidth=0.8, linestyle="--")
        panels[0].legend()
        style.caption(
            figure,
            [
                "map on motion: its part in the tenth of its cells in which the clip changes most; "
                "dashed: as much as anywhere; means and 95% intervals over seeds",
                describe(ok),
                where_and_when(ok),
            ],
        )
        return style.save(figure, folder, f"{name}_on_motion")
