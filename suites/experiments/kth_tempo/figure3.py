"""Figure 3: feature maps at twice the tempo beside those of training, and what they are worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.experiments.kth_tempo.tables import similarities
from suites.experiments.shared.conditions import layers_of, under
from suites.reporting.figures import style
from suites.reporting.pictures import unpacked
from suites.reporting.small_print import describe, where_and_when
from suites.reporting.stats import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = {
    "reference": "tempo 1\ndilation 2",
    "kept": "tempo 2\ndilation 2 (kept)",
    "swapped": "tempo 2\ndilation 1 (swapped)",
}
_NETWORK = "dilated_time"


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes figure3 (maps of STDCF, first seed) and tempo; nothing where no run is ok."""
    ok = [row for row in rows if row["status"] == "ok" and row["mode"] == _NETWORK]
    if not ok:
        return []
    return [*_maps(ok, folder), *_numbers(ok, folder)]


def _small_print(ok: Sequence[Row]) -> list[str]:
    return [
        describe(ok),
        where_and_when(ok),
    ]


def _maps(ok: Sequence[Row], folder: Path) -> list[Path]:
    row = next((r for r in ok if r["layer"] == "stdcf" and r.get("pictures")), None)
    if row is None:
        return []
    pictures = row["pictures"]
    clip = unpacked(pictures["input"], row["clip_shape"][2:])
    layers = list(pictures["layers"].items())
    with style.figure_style():
        import matplotlib.pyplot as plt

        count = max(len(layer["frames"]) for _, layer in layers)
        lines = 1 + len(_SHOWN) * len(layers)
        height, width = row["clip_shape"][2:]
        side = style.WIDTH / (count + 1.9)
        figure, panels = plt.subplots(
            lines,
            count,
            figsize=(style.WIDTH, side * height / width * lines + 0.6),
            squeeze=False,
        )
        # A layout engine would measure every panel, which takes longer than drawing them.
        figure.subplots_adjust(left=0.3, right=1, bottom=0.02, top=0.98, wspace=0.05, hspace=0.08)
        for axes in panels.flat:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
        _name(panels[0][0], "Input")
        step = len(clip) // layers[0][1]["of_frames"]
        for axes, frame in zip(panels[0], layers[0][1]["frames"], strict=False):
            axes.imshow(clip[frame * step], cmap="gray", vmin=0, vmax=255)
            axes.set_title(f"frame {frame * step}", fontsize=8)
        for place, (_, layer) in enumerate(layers):
            for offset, (condition, words) in enumerate(_SHOWN.items()):
                line = panels[1 + place * len(_SHOWN) + offset]
                similar = similarities(row).get(condition)
                note = f"\nsimilarity {similar[place]:.3f}" if similar else ""
                _name(line[0], f"Layer {place + 1}, {words}{note}")
                images = unpacked(layer["maps"][condition], layer["size"])
                for axes, image in zip(line, images, strict=False):
                    axes.imshow(image, cmap="cividis", vmin=0, vmax=255, interpolation="nearest")
        style.caption(
            figure,
            [
                f"STDCF, seed {row['seed']}: of each convolution's output the channel that varies "
                "most at tempo 1, one scale a layer; similarity: over all channels and test clips",
                *_small_print(ok),
            ],
        )
        return style.save(figure, folder, "figure3")


def _name(axes: "Axes", words: str) -> None:
    axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=7)


def _numbers(ok: Sequence[Row], folder: Path) -> list[Path]:
    layers = [layer for layer in layers_of(ok) if any(row["layer"] == layer for row in ok)]
    with style.figure_style():
        import matplotlib.pyplot as plt

        figure, (left, right) = plt.subplots(
            1, 2, figsize=(style.WIDTH, style.HEIGHT), layout="constrained"
        )
        for place, layer in enumerate(layers):
            shift = 0.12 * (place - (len(layers) - 1) / 2)
            colour, marker = style.colour(layer), style.marker(layer)
            for x, condition in enumerate(_SHOWN):
                values = [100 * r["accuracy"] for r in under(ok, layer, _NETWORK, condition)]
                if values:
                    found = estimate(values)
                    left.errorbar(
                        x + shift,
                        found.mean,
                        yerr=found.half_width,
                        color=colour,
                        marker=marker,
                        markersize=6,
                        capsize=2.5,
                        label=style.layer_name(layer) if x == 0 else None,
                    )
            for condition, line in (("kept", "--"), ("swapped", "-")):
                found_rows = [similarities(r).get(condition) for r in ok if r["layer"] == layer]
                columns = list(zip(*(one for one in found_rows if one), strict=True))
                right.plot(
                    range(1, len(columns) + 1),
                    [estimate(column).mean for column in columns],
                    line,
                    color=colour,
                    marker=marker,
                    markersize=5,
                    markerfacecolor=colour if condition == "swapped" else "white",
                )
        words = [shown.replace(" (", "\n(") for shown in _SHOWN.values()]
        left.set_xticks(range(len(_SHOWN)), words, fontsize=8)
        left.set_xlim(-0.5, len(_SHOWN) - 0.5)
        left.set_ylabel("Clip accuracy, %")
        left.legend()
        right.set_xticks(range(1, 1 + max(len(s) for r in ok for s in similarities(r).values())))
        right.set_xlabel("Convolution")
        right.set_ylabel("Similarity to tempo 1")
        right.set_title("dashed: kept, solid: swapped", loc="left")
        style.caption(
            figure,
            [
                "trained at tempo 1, dilation 2; means and 95% intervals over seeds; similarity: "
                "cosine of standardised outputs at the same moments, 1: equal",
                *_small_print(ok),
            ],
        )
        return style.save(figure, folder, "tempo")
