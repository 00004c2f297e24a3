"""layer_speed drawn: ratios to nn.Conv3d by shape, and each layer under its roofline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suites.engine.suite import Row
from suites.experiments.layer_speed.shapes import RESNET50, SHAPES
from suites.experiments.layer_speed.tables import best_layout, by_batch, in_order
from suites.reporting.figures import style

# Name in the rows -> label, colour, marker; the plans of STDCF share its colour.
_SHOWN = {
    "stdcf 3,2 auto": ("STDCF M=3 N=2, auto", "stdcf"),
    "stdcf 6,2 auto": ("STDCF M=6 N=2, auto", "stdcf"),
    "stdcf 3,2 composed": ("STDCF M=3 N=2, composed", "stdcf"),
    "rank1": ("Rank-1", "rank1"),
    "torchvision Conv2Plus1D": ("torchvision (2+1)D", "Conv2Plus1D"),
    "tensorly cp factorized": ("TensorLy CP, factorised", "tensorly cp"),
    "tensorly tucker factorized": ("TensorLy Tucker, factorised", "tensorly tucker"),
}
_LINES = {"stdcf 6,2 auto": "--", "stdcf 3,2 composed": ":"}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes layer_speed_TYPE and roofline_TYPE for each type that was measured."""
    layers = in_order([row for row in rows if row["status"] == "ok"])
    drawn = []
    for dtype in dict.fromkeys(row["mode"].rpartition("-")[2] for row in layers):
        groups = by_batch([row for row in layers if row["mode"].endswith(dtype)])
        for mine in groups:
            name = dtype if len(groups) == 1 else f"{dtype}_{mine[0]['batch']}clips"
            drawn += _ratios(mine, dtype, folder, name) + _roofline(mine, dtype, folder, name)
    return drawn


def _case(row: Row) -> str:
    return str(row["mode"]).rpartition("-")[0]


def _ratios(rows: Sequence[Row], dtype: str, folder: Path, name_in_file: str) -> list[Path]:
    import matplotlib.pyplot as plt

    with style.figure_style():
        figure, axes = plt.subplots(figsize=(style.WIDTH, style.HEIGHT))
        for name, (label, look) in _SHOWN.items():
            found = [best_layout(row, name, "step_ratio") for row in rows]
            points = [(x, m["step_ratio"]) for x, m in enumerate(found) if m is not None]
            # One line for each network's shapes.
            parts = [
                [p for p in points if (_case(rows[p[0]]) in RESNET50) is r] for r in (True, False)
            ]
            for index, part in enumerate(part for part in parts if part):
                axes.plot(
                    *zip(*part, strict=True),
                    color=style.colour(look),
                    marker=style.marker(look),
                    linestyle=_LINES.get(name, "-"),
                    label=None if index else label,
                )
        axes.axhline(1, color="0.4", linewidth=1)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
        axes.set_xticks(range(len(rows)), [_case(row).replace("_", "\n") for row in rows])
        axes.set_ylabel("time, nn.Conv3d = 1")
        axes.set_title(f"Forward and backward of one layer, {dtype}, {_where(rows)}")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
        return style.save(figure, folder, f"layer_speed_{name_in_file}")


def _roofline(rows: Sequence[Row], dtype: str, folder: Path, name_in_file: str) -> list[Path]:
    """Effective rate (the dense filter's operations a second) against intensity."""
    import matplotlib.pyplot as plt

    size = 2 if dtype == "bfloat16" else 4
    with style.figure_style():
        figure, axes = plt.subplots(figsize=(style.WIDTH, style.HEIGHT))
        best = 0.0
        for name, (label, look) in {"regular": ("nn.Conv3d", "regular"), **_SHOWN}.items():
            points = []
            for row in rows:
                found = best_layout(row, name, "forward_seconds")
                if found is None:
                    continue
                shape = SHAPES[_case(row)]
                c_in, c_out = shape.in_channels, shape.out_channels
                positions = shape.positions * row["batch"]
                flops = 2 * 27 * c_in * c_out * positions
                moved = size * (positions * (c_in + c_out) + 27 * c_in * c_out)
                rate = flops / found["forward_seconds"] / 1e9
                points.append((flops / moved, rate))
                best = max(best, rate if name == "regular" else 0.0)
            if points:
                axes.plot(
                    *zip(*sorted(points), strict=True),
                    color=style.colour(look),
                    marker=style.marker(look),
                    linestyle=_LINES.get(name, "-"),
                    label=label,
                )
        axes.axhline(best, color="0.4", linewidth=1)
        axes.annotate(
            "nn.Conv3d's best",
            (1, best),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("operations of the dense filter for each byte of input, output and filter")
        axes.set_ylabel("the same, GFLOP/s reached forward")
        axes.set_title(f"Roofline, {dtype}, {_where(rows)}")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
        return style.save(figure, folder, f"roofline_{name_in_file}")


def _where(rows: Sequence[Row]) -> str:
    row: Any = rows[0]
    return f"{row['device']}, {row['threads']} threads, batch {row['batch']}"
