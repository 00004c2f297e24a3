"""What every figure is made of: a page of panels, a legend, a caption; `seeds` draws in panels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from suites.engine.suite import Row
from suites.reporting.figures import style
from suites.reporting.small_print import describe, where_and_when

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

GRAY = "#444444"
_LINE_CHARACTERS, _LINE_INCHES = 142, 0.12


@contextmanager
def page(
    rows: int = 1, columns: int = 1, *, height: float = style.HEIGHT, **options: Any
) -> "Iterator[tuple[Figure, list[Axes]]]":
    """A figure of the width that all have, and its panels row by row.

    Args:
        height: of all panels together, in inches.
        options: further ones of `plt.subplots`.
    """
    with style.figure_style():
        import matplotlib.pyplot as plt

        size = (style.WIDTH, height)
        figure, panels = plt.subplots(
            rows, columns, figsize=size, squeeze=False, layout="constrained", **options
        )
        try:
            yield figure, list(panels.flat)
        finally:
            plt.close(figure)


def save(figure: "Figure", folder: Path, name: str, rows: Sequence[Row], *words: str) -> list[Path]:
    """Writes the figure with a caption below it; returns the paths.

    Args:
        rows: whose data, machines, days and notes the caption names after `words`; may be empty.
    """
    lines = list(words)
    if rows:
        notes = sorted({note for row in rows for note in row.get("notes") or ()})
        lines += [describe(rows), "; ".join([where_and_when(rows), *notes])]
    shown = [
        part
        for line in lines
        for part in wrap(line, _LINE_CHARACTERS, max_lines=2, placeholder=" …", tabsize=1)
    ]
    caption = _LINE_INCHES * len(shown) + 0.1
    height = figure.get_figheight() + caption
    figure.set_figheight(height)
    figure.text(
        0.07 / style.WIDTH,
        0.05 / height,
        style.plain("\n".join(shown)),
        fontsize=7,
        color=GRAY,
        va="bottom",
    )
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.set(rect=(0, caption / height, 1, 1 - caption / height))  # type: ignore[call-arg]
        # Once: each format would measure texts in its own way, and place them by that.
        layout.execute(figure)
        figure.set_layout_engine("none")
    return style.write(figure, folder, name)


def legend(figure: "Figure", layers: Iterable[str]) -> None:
    """Layers by colour and marker, above the panels."""
    handles = legend_handles(layers)
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))


def legend_handles(layers: Iterable[str], fills: Mapping[str, str] | None = None) -> "list[Line2D]":
    """Layers by colour and marker, then what the filling of a marker stands for."""
    from matplotlib.lines import Line2D

    looks: list[dict[str, Any]] = [
        {
            "color": style.colour(layer),
            "marker": style.marker(layer),
            "label": style.plain(style.layer_name(layer)),
        }
        for layer in style.in_order(list(layers))
    ]
    looks += [
        {"color": GRAY, "marker": "o", "label": style.plain(words), **style.filled(fill)}
        for words, fill in (fills or {}).items()
    ]
    return [Line2D([], [], linestyle="", **look) for look in looks]
