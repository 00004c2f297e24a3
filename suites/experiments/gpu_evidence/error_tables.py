"""How far predictions are off, by network, saver and type; and steps held to their prediction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from suites.engine.suite import Row
from suites.reporting import columns
from suites.reporting.columns import Column
from suites.tables.table import Table

_BARS = (0.05, 0.1)
# (case of the spec, measured, predicted)
Step = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]


@dataclass(frozen=True)
class _Group:
    kind: str
    name: str
    allocated: Sequence[float]
    reserved: Sequence[float]

    def within(self, ratios: Sequence[float], bar: float) -> str:
        return str(sum(abs(ratio - 1) <= bar for ratio in ratios))


def _off(which: Callable[[Sequence[float]], float], ratios: Sequence[float]) -> str:
    return f"{100 * (which(ratios) - 1):+.1f}%"


def steps_of(rows: Sequence[Row], predicted: Mapping[str, Mapping[str, Any]]) -> list[Step]:
    """Every measured step that was predicted too, repeated ones as often as they were measured."""
    found: list[Step] = []
    for row in rows:
        for one in row["cases"]:
            expected = predicted.get(one["name"], {})
            if one["status"] == "ok" and expected.get("reserved_bytes"):
                found.append((parts(one["name"]), one, expected))
    return found


def parts(name: str) -> dict[str, str]:
    """Network with layer, saver, type and layout of a step, by its name's words."""
    words = name.split()
    layout = "channels_last_3d" if words[-1] == "channels_last_3d" else ""
    words = words[:-1] if layout else words
    stages = [index for index, word in enumerate(words) if word in ("full", "t1", "s1")]
    network = " ".join(word for word in words[: stages[0]] if "=" not in word)
    saver = " ".join(words[stages[0] + 1 : -1])
    stage = words[stages[0]]
    return {"network": network, "stage": stage, "saver": saver, "type": words[-1], "layout": layout}


def errors_table(steps: Sequence[Step]) -> Table:
    """Allocated and reserved, by each network, saver, stage, type and layout in turn."""
    keys = {"network": "", "saver": "no saver", "stage": "", "type": "", "layout": "contiguous"}
    groups = [_group("all", "all steps", steps)]
    for kind, missing in keys.items():
        for name in dict.fromkeys(of[kind] for of, _, _ in steps):
            own = [step for step in steps if step[0][kind] == name]
            groups.append(_group(kind, name or missing, own))
    low, high = _BARS
    return columns.table(
        "Predicted against measured: allocated and reserved, by groups of steps",
        [
            Column[_Group]("By", lambda group: group.kind),
            Column("Steps of", lambda group: group.name),
            Column("Number", lambda group: str(len(group.reserved))),
            Column("Allocated: median", lambda group: _off(median, group.allocated)),
            Column(f"within {low:.0%}", lambda group: group.within(group.allocated, low)),
            Column("Reserved: median", lambda group: _off(median, group.reserved)),
            Column("lowest", lambda group: _off(min, group.reserved)),
            Column("highest", lambda group: _off(max, group.reserved)),
            Column(f"within {low:.0%} ", lambda group: group.within(group.reserved, low)),
            Column(f"within {high:.0%}", lambda group: group.within(group.reserved, high)),
        ],
        groups,
        ["off by: predicted over measured; every step counts, also one that was measured twice"],
    )


def _group(kind: str, name: str, steps: Sequence[Step]) -> _Group:
    allocated = [
        (expected.get("allocated_bytes") or 0) / found["peak_bytes"] for _, found, expected in steps
    ]
    reserved = [
        expected["reserved_bytes"] / found["reserved_bytes"] for _, found, expected in steps
    ]
    return _Group(kind, name, allocated, reserved)


def estimates_table(rows: Sequence[Row]) -> Table:
    """Of steps that were held to their predicted smallest cap: how they ended."""
    tries: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        for one in row["cases"]:
            tries.setdefault((one["name"], one["segments"]), []).append(one)
    body = []
    for segments in ("smallest", "expandable"):
        own = [found for (_, kind), found in tries.items() if kind == segments]
        at_once = [found[0] for found in own if found[0]["status"] == "ok"]
        later = [found[-1] for found in own if len(found) > 1 and found[-1]["status"] == "ok"]
        out = [found for found in own if found[-1]["status"] == "oom"]
        failed = len(own) - len(at_once) - len(later) - len(out)
        flushes = [one["flushes"] for one in (*at_once, *later)]
        body.append(
            [
                "expandable" if segments == "expandable" else "as usual",
                str(len(own)),
                *(str(len(group)) for group in (at_once, later, out)),
                str(failed),
                f"{median(flushes):g}" if flushes else "–",
            ]
        )
    return Table(
        title="Every step with the allocator held to its predicted smallest cap",
        columns=[
            *("Segments", "Steps", "Ran", "Ran with the margin", "Out of memory", "Failed"),
            "Flushes, median",
        ],
        rows=body,
        notes=["the margin is the 5% that plans add; flushes: cached memory given back, two steps"],
    )
