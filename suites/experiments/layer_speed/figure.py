"""layer_speed drawn: ratios to nn.Conv3d by shape, and each layer under its roofline."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.engine.suite import Row
from suites.experiments.layer_speed.shapes import RESNET50, SHAPES
from suites.experiments.layer_speed.tables import best_layout, by_batch, in_order
from suites.reporting.figures import parts, style
from suites.reporting.small_print import when

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Name in the rows -> label, whose colour and marker; the plans of STDCF share its.
_SHOWN = {
    "regular": ("nn.Conv3d", "regular"),
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


def _ratios(rows: Sequence[Row], dtype: str, folder: Path, name_in_file: str) -> list[Path]:
    with parts.page() as (figure, (axes,)):
        for name in _SHOWN:
            found = [best_layout(row, name, "step_ratio") for row in rows]
            points = [(x, m["step_ratio"]) for x, m in enumerate(found) if m is not None]
            # One line for each network's shapes; nn.Conv3d's is the line at 1.
            for resnet in (True, False) if name != "regular" else ():
                own = [p for p in points if (_case(rows[p[0]]) in RESNET50) is resnet]
                _line(axes, name, own)
        axes.axhline(1, color="0.4", linewidth=1)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
        axes.set_xticks(
            range(len(rows)), [_case(row).replace("_", "\n") for row in rows], fontsize=7
        )
        axes.set_ylabel("time, nn.Conv3d = 1")
        axes.set_title(f"Forward and backward of one layer, {dtype}", loc="left")
        _legend(axes)
        return parts.save(figure, folder, f"layer_speed_{name_in_file}", [], _where(rows))


def _roofline(rows: Sequence[Row], dtype: str, folder: Path, name_in_file: str) -> list[Path]:
    """Effective rate (the dense filter's operations a second) against intensity."""
    size = 2 if dtype == "bfloat16" else 4
    rates: dict[str, dict[float, float]] = {}
    for name in _SHOWN:
        for row in rows:
            found = best_layout(row, name, "forward_seconds")
            if found is not None:
                flops, moved = _work(row, size)
                rates.setdefault(name, {})[flops / moved] = flops / found["forward_seconds"] / 1e9
    with parts.page() as (figure, (axes,)):
        from matplotlib.ticker import LogLocator

        for name, own in rates.items():
            _line(axes, name, sorted(own.items()))
        best = max(rates.get("regular", {0.0: 0.0}).values())
        axes.axhline(best, color="0.4", linewidth=1, label="nn.Conv3d's best")
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
        axes.set_xlabel("operations of the dense filter for each byte of input, output and filter")
        axes.set_ylabel("the same, GFLOP/s reached forward")
        axes.set_title(f"Roofline, {dtype}", loc="left")
        _legend(axes)
        return parts.save(figure, folder, f"roofline_{name_in_file}", [], _where(rows))


def _case(row: Row) -> str:
    return str(row["mode"]).rpartition("-")[0]


def _work(row: Row, size: int) -> tuple[int, int]:
    """Operations of the dense filter, and bytes of input, output and filter of that many each."""
    shape = SHAPES[_case(row)]
    c_in, c_out, positions = shape.in_channels, shape.out_channels, shape.positions * row["batch"]
    return 2 * 27 * c_in * c_out * positions, size * (
        positions * (c_in + c_out) + 27 * c_in * c_out
    )


def _line(axes: "Axes", name: str, points: Sequence[tuple[float, float]]) -> None:
    label, look = _SHOWN[name]
    known = axes.get_legend_handles_labels()[1]
    if points:
        axes.plot(
            *zip(*points, strict=True),
            color=style.colour(look),
            marker=style.marker(look),
            linestyle=_LINES.get(name, "-"),
            label=None if label in known else label,
        )


def _legend(axes: "Axes") -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3)


def _where(rows: Sequence[Row]) -> str:
    row: Any = rows[0]
    return f"batch {row['batch']}; {row['device']}, {row['threads']} threads; {when(rows)}"
