"""What the page begins with: three charts of one setting each, as numbers for the page's script."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from suites.engine.suite import Row
from suites.reporting.figures.groups import groups_of
from suites.reporting.figures.pareto import MIB
from suites.reporting.figures.style import in_order, layer_name
from suites.reporting.measure import WORDS, measure_of, units
from suites.reporting.settings import grouped

# The network whose clips a step are shown under each cap, if it was planned for.
_NETWORK = "resnet3d_50"
_WAYS = ("full size", "ITSL")


def overview(rows: Sequence[Row]) -> dict[str, Any]:
    """ "layers": name -> label; "charts": those of the three whose rows are there.

    A chart has "title", "about", "x", "y", and "series" of one layer each, whose "points" are
    [x, y, words]; those of "itsl" are hollow. With "places", x is an index into these.
    """
    trained = _most_telling([row for row in rows if row["suite"] == "kth_table2"] or rows)
    found = [
        _accuracy_memory(trained),
        _stages(trained),
        _caps([row for row in rows if row["suite"] == "memory_caps"]),
    ]
    charts = [chart for chart in found if chart["series"]]
    layers = in_order([series["layer"] for chart in charts for series in chart["series"]])
    return {"layers": {layer: layer_name(layer) for layer in layers}, "charts": charts}


def _most_telling(rows: Sequence[Row]) -> list[Row]:
    """The ok rows of the setting with most runs under ITSL, one on real clips if there is any."""
    settings: dict[tuple[str, str], list[Row]] = {}
    for suite in dict.fromkeys(row["suite"] for row in rows):
        for setting, own in grouped([row for row in rows if row["suite"] == suite]).items():
            ok = [row for row in own if row["status"] == "ok"]
            if any(_is_itsl(row) for row in ok):
                settings[suite, setting] = ok

    def worth(own: Sequence[Row]) -> tuple[bool, int]:
        return not any(row.get("synthetic") for row in own), sum(map(_is_itsl, own))

    return max(settings.values(), key=worth, default=[])


def _is_itsl(row: Row) -> bool:
    return row.get("mode") == "itsl" and bool(row.get("stages"))


def _accuracy_memory(rows: Sequence[Row]) -> dict[str, Any]:
    series = []
    key = measure_of(rows)
    for group in groups_of([row for row in rows if _number(row.get(key))]):
        peaks = [row["measured_peak_bytes"] for row in group.rows if row.get("measured_peak_bytes")]
        if not peaks:
            continue
        x, y = fmean(peaks) / MIB, fmean(100 * row[key] for row in group.rows)
        words = f"{group.mode}: {y:.1f}% at {x:,.0f} MiB, n={len(group.rows)}"
        is_itsl = group.mode.startswith("itsl")
        series.append({"layer": group.layer, "itsl": is_itsl, "points": [[x, y, words]]})
    return {
        "title": "Accuracy against memory",
        "about": f"{_about(rows)}: means over {units(rows)}; hollow: ITSL.",
        "x": "measured peak of a training step, MiB",
        "y": f"{WORDS[key]}, %",
        "series": series,
    }


def _stages(rows: Sequence[Row]) -> dict[str, Any]:
    itsl = [row for row in rows if _is_itsl(row)]
    places = [stage["stage"] for stage in itsl[0]["stages"]] if itsl else []
    series = []
    key = measure_of(itsl)
    for group in groups_of(itsl):
        curves = [[stage.get(key) for stage in row["stages"]] for row in group.rows]
        curves = [curve for curve in curves if all(map(_number, curve))]
        whole = [curve for curve in curves if len(curve) == len(places)]
        points: list[list[Any]] = []
        for place, values in enumerate(zip(*whole, strict=True)):
            y = 100 * fmean(values)
            points.append([place, y, f"after {places[place]}: {y:.1f}%, n={len(values)}"])
        if points:
            series.append({"layer": group.layer, "itsl": False, "points": points})
    return {
        "title": "ITSL, stage by stage",
        "about": f"{_about(rows)}: t stages train half-size clips, s stages half-time clips.",
        "x": "after stage",
        "y": f"{WORDS[key]}, on full-size clips, %",
        "places": places,
        "series": series,
    }


def _caps(rows: Sequence[Row]) -> dict[str, Any]:
    planned = [row for row in rows if row["status"] == "ok" and row.get("techniques")]
    network = _NETWORK if any(row["model"] == _NETWORK for row in planned) else None
    own = [row for row in planned if row["model"] == (network or planned[0]["model"])]
    caps = list(_ways(own[0])[_WAYS[0]]["room"]) if own else []
    series = []
    for row in own:
        for way in _WAYS:
            if way not in _ways(row):
                continue
            room = _ways(row)[way]["room"]
            clips = [math.floor(row["input_shape"][0] * room[cap]) for cap in caps]
            points = [
                [place, y, f"{way}: {y:,} clips a step under {cap} GiB"]
                for place, (cap, y) in enumerate(zip(caps, clips, strict=True))
            ]
            series.append({"layer": row["layer"], "itsl": way != _WAYS[0], "points": points})
    shape = "×".join(map(str, own[0]["input_shape"][1:])) if own else ""
    name = own[0]["model"] if own else ""
    return {
        "title": "What fits under a memory cap",
        "about": f"{name}, clips of {shape}, predicted for CUDA; hollow, dashed: ITSL.",
        "x": "cap, GiB",
        "y": "clips a step",
        "places": caps,
        "series": series,
    }


def _ways(row: Row) -> Mapping[str, Any]:
    ways: Mapping[str, Any] = row["techniques"]
    return ways


def _about(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    row = rows[0]
    synthetic = ", SYNTHETIC clips" if row.get("synthetic") else ""
    return f"{row['suite']}, {row['setting']}{synthetic}"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
