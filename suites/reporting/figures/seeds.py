"""Means with 95% intervals over seeds, drawn by Seaborn as points or bars of a tidy frame.

The numbers are those of `stats.estimate`. Seaborn takes two seconds to import, so functions import
it when they draw.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from suites.reporting.figures import style
from suites.reporting.figures.parts import GRAY
from suites.reporting.stats import estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# Between layers at the same place, in distances of two places.
_STEP = 0.16


def tidy(samples: Iterable[tuple[float, str, Iterable[float]]]) -> "pd.DataFrame":
    """(place, layer, values over seeds) as a frame: a line a seed; columns place, layer, value."""
    import pandas as pd

    lines = [(float(place), layer, value) for place, layer, values in samples for value in values]
    return pd.DataFrame(lines, columns=["place", "layer", "value"])


def mean(values: Iterable[float]) -> float:
    """That of `stats.estimate`."""
    return estimate(list(values)).mean


def interval(values: Iterable[float]) -> tuple[float, float]:
    """Both ends of the 95% interval of `stats.estimate`; NaN where there is none."""
    found = estimate(list(values))
    half = float("nan") if found.half_width is None else found.half_width
    return found.mean - half, found.mean + half


def reach(values: Iterable[float]) -> tuple[float, float]:
    """The lowest and the highest of the seeds and the ends of their interval."""
    known = list(values)
    known += [end for end in interval(known) if end == end]
    return min(known), max(known)


def points(
    axes: "Axes",
    frame: "pd.DataFrame",
    *,
    across: bool = False,
    joined: bool = False,
    dots: bool = True,
    **look: Any,
) -> None:
    """Means with 95% intervals, layers at the same place side by side.

    On a logarithmic axis they are geometric means, and intervals of logarithms.

    Args:
        frame: as `tidy` makes it.
        across: values lie on the x axis, places on the y axis.
        joined: a line through each layer's points.
        dots: one for each seed.
        look: of lines and markers, in Matplotlib's words; a `color` takes the place of layers'.
    """
    if frame.empty:
        return
    import seaborn as sns

    layers = style.in_order(list(frame.layer))
    beside = frame.groupby("place").layer.nunique().max() > 1
    spread = _STEP * (len(layers) - 1) if beside else 0.0
    colour = look.pop("color", None)
    sns.pointplot(
        frame,
        **_common(axes, {layer: colour or style.colour(layer) for layer in layers}, across),
        markers=[style.marker(layer) for layer in layers],
        linestyles=look.pop("linestyle", "-") if joined else "none",
        dodge=spread or False,
        **{"linewidth": 1.2, "markersize": 6, "markeredgewidth": 1, "zorder": 3} | look,
    )
    if dots:
        steps = {layer: _STEP * i - spread / 2 for i, layer in enumerate(layers)}
        shift = frame.layer.map(steps) * _unit(frame) if beside else 0.0
        _dots(axes, frame.assign(place=frame.place + shift), across)
    axes.set(xlabel="", ylabel="")


def bars(
    axes: "Axes",
    frame: "pd.DataFrame",
    *,
    width: float = 0.8,
    numbers: str = ".1f",
    fontsize: float = 8,
    dots: bool = True,
    **look: Any,
) -> None:
    """Bars up to the means, with 95% intervals, and the means as numbers above.

    Args:
        frame: as `tidy` makes it, a layer a place.
        width: of a bar, in the units of the axis.
        numbers: how a mean is written; not at all if empty.
        dots: one for each seed.
        look: of bars, in Seaborn's and Matplotlib's words.
    """
    if frame.empty:
        return
    import seaborn as sns

    colours = {layer: style.colour(layer) for layer in style.in_order(list(frame.layer))}
    sns.barplot(
        frame,
        **_common(axes, colours, across=False, color="black"),
        saturation=1,
        dodge=False,
        width=width / _unit(frame),
        **look,
    )
    if dots:
        _dots(axes, frame, across=False)
    for place, values in frame.groupby("place").value if numbers else ():
        axes.annotate(
            format(mean(values), numbers),
            (place, reach(values)[1]),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=fontsize,
        )
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="", ylabel="")


def _common(axes: "Axes", colours: dict[str, str], across: bool, **whiskers: Any) -> dict[str, Any]:
    caps = {"marker": "|" if across else "_", "markersize": 5, "markeredgewidth": 1}
    return {
        **_where(axes, across),
        "hue": "layer",
        "hue_order": list(colours),
        "palette": colours,
        "estimator": mean,
        "errorbar": interval,
        "err_kws": {"linewidth": 1, "zorder": 2.5, **caps, **whiskers},
    }


def _where(axes: "Axes", across: bool) -> dict[str, Any]:
    x, y, places = ("value", "place", "y") if across else ("place", "value", "x")
    return {"ax": axes, "x": x, "y": y, "orient": places, "native_scale": True, "legend": False}


def _unit(frame: "pd.DataFrame") -> float:
    """The least distance of two places, of which Seaborn's widths are shares."""
    import numpy as np

    return float(min(np.diff(np.unique(frame.place)), default=1.0))


def _dots(axes: "Axes", frame: "pd.DataFrame", across: bool) -> None:
    import seaborn as sns

    several = frame.groupby(["place", "layer"]).value.transform("size") > 1
    where = _where(axes, across)
    sns.stripplot(frame[several], **where, color=GRAY, jitter=False, size=3, zorder=4)
