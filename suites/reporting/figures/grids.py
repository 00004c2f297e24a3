"""Grids of small pictures with names beside and titles above: frames of clips, maps, outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.engine.suite import Row
from suites.reporting.figures import parts, style

if TYPE_CHECKING:
    import numpy as np

# In widths of a picture.
_GAP, _TITLE = 0.06, 0.2
# Around all pictures, and between them and their names.
_EDGE_INCHES = 0.05


@dataclass(frozen=True)
class Line:
    """Pictures side by side.

    Attributes:
        name: beside them.
        images: uint8 [pictures, H, W].
        colours: a colour map of Matplotlib's.
        height: in widths of a picture; None is the images' own.
            over: uint8 [pictures, h, w] maps laid over them.
        titles: above them, one a picture.
    """

    name: str
    images: "np.ndarray"
    colours: str = "gray"
    height: float | None = None
    over: "np.ndarray | None" = None
    titles: Sequence[str] = ()
    name_colour: str = "black"


def draw(
    lines: Sequence[Line], folder: Path, name: str, rows: Sequence[Row], *words: str
) -> list[Path]:
    """Writes the lines below one another; `words` and `rows` as in `parts.save`."""
    count = max(len(line.images) for line in lines)
    heights = [line.height or line.images.shape[1] / line.images.shape[2] for line in lines]
    above = [_TITLE if line.titles else _GAP for line in lines]
    total, width = sum(heights) + sum(above), count + (count - 1) * _GAP
    with parts.page() as (figure, (axes,)):
        y, middles = 0.0, []
        for line, height, title in zip(lines, heights, above, strict=True):
            y += title
            middles.append(y + height / 2)
            for x, image in enumerate(line.images):
                left = x * (1 + _GAP)
                where: dict[str, Any] = {
                    "extent": (left, left + 1, y + height, y),
                    "vmin": 0,
                    "vmax": 255,
                }
                axes.imshow(image, cmap=line.colours, interpolation="nearest", **where)
                if line.over is not None and x < len(line.over):
                    axes.imshow(
                        line.over[x], cmap="inferno", alpha=0.6, interpolation="bilinear", **where
                    )
                if x < len(line.titles):
                    axes.text(left + 0.5, y - 0.03, line.titles[x], ha="center", fontsize=8)
            y += height
        axes.set(xlim=(0, width), ylim=(total, 0), aspect="auto", xticks=[])
        axes.set_frame_on(False)
        axes.grid(visible=False)
        axes.set_yticks(middles, [style.plain(line.name) for line in lines], fontsize=8)
        axes.tick_params(length=0)
        names = axes.get_yticklabels()
        for label, line in zip(names, lines, strict=True):
            label.set_color(line.name_colour)
        beside = max(label.get_window_extent().width for label in names) / figure.dpi
        inches = (style.WIDTH - beside - 3 * _EDGE_INCHES) / width
        figure.set_figheight(total * inches + 2 * _EDGE_INCHES)
        return parts.save(figure, folder, name, rows, *words)
