"""Rows of one setting grouped for a figure: by layer (or model, where there is none) and mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.reporting.figures import style
from suites.reporting.small_print import describe, where_and_when

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_INCHES_A_LINE = 0.14


@dataclass(frozen=True)
class Group:
    """The ok rows of one layer and mode, by seed."""

    layer: str
    mode: str
    rows: Sequence[Row]

    @property
    def name(self) -> str:
        """Of the layer, as every figure says it."""
        return style.LAYER_NAMES.get(self.layer, style.plain(self.layer))

    @property
    def label(self) -> str:
        """Of the layer and the mode."""
        return f"{self.name} {style.plain(self.mode)}".strip()


def groups_of(rows: Sequence[Row]) -> list[Group]:
    """Full size first, then the other modes; in each the layers in the order of every figure."""
    ok = [row for row in rows if row["status"] == "ok"]
    found: dict[tuple[str, str], list[Row]] = {}
    for row in ok:
        layer = row.get("layer") or row.get("model") or "none"
        found.setdefault((str(layer), str(row.get("mode", ""))), []).append(row)
    layers = style.in_order([layer for layer, _ in found])
    return [
        Group(layer, mode, sorted(found[layer, mode], key=lambda row: row["seed"]))
        for mode in modes_of([mode for _, mode in found])
        for layer in layers
        if (layer, mode) in found
    ]


def modes_of(modes: Sequence[str]) -> list[str]:
    """Each mode once, full size first."""
    return sorted(set(modes), key=lambda mode: (mode != "full", mode))


def new_figure(
    panels: int, *, left: float = 0.6, right: float = 0.1, below: float = 0.45, lines: int = 3
) -> "tuple[Figure, list[Axes]]":
    """Panels that share their y axis, with margins in inches.

    Margins are fixed, not fitted: a page of many figures would wait for that.

    Args:
        lines: of small print below.
    """
    import matplotlib.pyplot as plt

    width, height = style.WIDTH, style.HEIGHT + lines * _INCHES_A_LINE
    bottom = below + lines * _INCHES_A_LINE
    figure, axes = plt.subplots(1, panels, figsize=(width, height), sharey=True, squeeze=False)
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - 0.3 / height,
        wspace=0.06,
    )
    return figure, list(axes[0])


def small_print(figure: "Figure", rows: Sequence[Row], *lines: str) -> None:
    """What is drawn, of which data, by which machine and when; at the lower edge."""
    ok = [row for row in rows if row["status"] == "ok"]
    notes = sorted({note for row in ok for note in row.get("notes") or ()})
    text = [*lines, describe(ok), "; ".join([where_and_when(ok), *notes])]
    figure.text(
        0.1 / style.WIDTH,
        0.05 / figure.get_figheight(),
        style.plain("\n".join(line if len(line) <= 130 else line[:129] + "…" for line in text)),
        fontsize=7,
        color="#444444",
        va="bottom",
    )


def fills(modes: Sequence[str]) -> dict[str, str]:
    """How each mode's markers are filled."""
    return {
        mode: style.MODE_FILLS[index % len(style.MODE_FILLS)]
        for index, mode in enumerate(modes_of(modes))
    }


def legend_handles(groups: Sequence[Group]) -> "list[Line2D]":
    """Layers by colour and marker, then modes by filling."""
    from matplotlib.lines import Line2D

    layers = dict.fromkeys((group.layer, group.name) for group in groups)
    handles = [
        Line2D([], [], linestyle="", color=style.colour(k), marker=style.marker(k), label=name)
        for k, name in layers
    ]
    by_mode = fills([group.mode for group in groups])
    return handles + [
        Line2D(
            [],
            [],
            linestyle="",
            color="#444444",
            marker="o",
            fillstyle=fill,  # type: ignore[arg-type]
            markerfacecoloralt="white",
            label=style.plain(mode) or "no mode",
        )
        for mode, fill in by_mode.items()
    ]
