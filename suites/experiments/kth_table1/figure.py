"""Table 1 as bars: each gap, each layer, without and with dilated atoms."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suites.engine.suite import Row
from suites.experiments.kth_table1.tables import GAPS, Gap, papers
from suites.experiments.shared.conditions import under
from suites.reporting.figures import parts, seeds, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = 0.38


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes table1; nothing where no run is ok."""
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return []
    with parts.page(1, len(GAPS), sharey=True) as (figure, panels):
        from matplotlib.patches import Patch

        for axes, gap in zip(panels, GAPS, strict=True):
            _panel(axes, gap, ok)
        # An interval may reach below 0, an accuracy cannot.
        panels[0].set_ylim(bottom=0.0)
        panels[0].set_ylabel("Clip accuracy, %")
        kinds = {"plain atoms": "white", "dilated atoms": parts.GRAY}
        figure.legend(
            handles=[Patch(facecolor=c, edgecolor=parts.GRAY, label=k) for k, c in kinds.items()],
            loc="outside upper right",
            ncols=2,
        )
        return parts.save(
            figure,
            folder,
            "table1",
            ok,
            "bars: means; dots: seeds; whiskers: 95% intervals; dashes: the paper, on KTH; "
            "dotted: chance",
        )


def _panel(axes: "Axes", gap: Gap, ok: Sequence[Row]) -> None:
    layers = style.in_order([row["layer"] for row in ok])
    atoms = ((-_BAR / 2, False, gap.plain), (_BAR / 2, True, gap.dilated))
    for (shift, filled, which), paper in zip(atoms, papers(gap), strict=True):
        frame = seeds.tidy(
            (x + shift, layer, [100 * row["accuracy"] for row in under(ok, layer, *which)])
            for x, layer in enumerate(layers)
        )
        seeds.bars(axes, frame, width=_BAR * 0.94, fill=filled, linewidth=1.2, alpha=0.85)
        if paper is not None and "stdcf" in layers:
            x = layers.index("stdcf") + shift
            axes.hlines(paper, x - _BAR / 2, x + _BAR / 2, color="black", linestyle="--", lw=1.2)
    axes.axhline(100 / ok[0]["classes"], color=parts.GRAY, linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(layers)), [style.layer_name(layer) for layer in layers])
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.grid(visible=False, axis="x")
    axes.set_title(f"Trained on {gap.words.replace('→', '→ tested on')}", loc="left")
