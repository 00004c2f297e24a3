"""layer_speed as text: ratios to nn.Conv3d, their geometric means, and memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from suites.engine.suite import Row
from suites.experiments.layer_speed.shapes import KTH_CNN, RESNET50
from suites.reporting import cells, columns
from suites.reporting.columns import Column
from suites.reporting.small_print import provenance_notes, when
from suites.tables.table import Table

Measurement = Mapping[str, Any]
_BASE = "regular"
_LAYER = Column[str]("Layer", str)


def tables(rows: Sequence[Row]) -> list[Table]:
    """One of the bars, then one a type for layers, one a type for networks."""
    ok = [row for row in rows if row["status"] == "ok"]
    made = []
    for dtype in dict.fromkeys(_dtype(row) for row in rows):
        mine = [row for row in ok if _dtype(row) == dtype]
        layer_rows = in_order(mine)
        networks = [row for row in mine if row not in layer_rows]
        for own in by_batch(layer_rows):
            made.append(_summary(own, dtype))
            made += [_layers(own, dtype, kind) for kind in ("step", "forward")]
            made.append(_memory(own, dtype))
        if networks:
            made.append(_networks(networks, dtype))
    failed = [f"{row['mode']}: {row['status']} ({row['reason']})" for row in rows if row not in ok]
    if made and failed:
        made[0] = Table(made[0].title, made[0].columns, made[0].rows, [*made[0].notes, *failed])
    return made


def in_order(rows: Sequence[Row]) -> list[Row]:
    """The rows of single layers: ResNet-50's, then kth_cnn's."""
    order = (*RESNET50, *KTH_CNN)
    return sorted((r for r in rows if _case(r) in order), key=lambda r: order.index(_case(r)))


def by_batch(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of as many clips together, in the order of the first of each."""
    batches = dict.fromkeys(row.get("batch") for row in rows)
    return [[row for row in rows if row.get("batch") == batch] for batch in batches]


def best_layout(row: Row, name: str, column: str) -> Measurement | None:
    """A layer's measurement in the layout in which `column` is smaller."""
    found = [m for m in row["measurements"] if m["name"] == name and column in m]
    return min(found, key=lambda m: m[column], default=None)


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _summary(rows: Sequence[Row], dtype: str) -> Table:
    resnet = [row for row in rows if _case(row) in RESNET50]

    def ratios(name: str, kind: str) -> list[float]:
        best = [best_layout(row, name, f"{kind}_ratio") for row in resnet]
        return [m[f"{kind}_ratio"] for m in best if m is not None]

    def mean(kind: str, name: str) -> str:
        values = ratios(name, kind)
        return f"{geometric_mean(values):.2f}×" if len(values) == len(RESNET50) else "–"

    def worst(kind: str, name: str) -> str:
        return f"{max(values):.2f}×" if (values := ratios(name, kind)) else "–"

    return columns.table(
        f"Time against nn.Conv3d over ResNet-50's four shapes, {dtype}, {_batch(rows)}",
        [
            _LAYER,
            Column("fwd+bwd, mean", partial(mean, "step")),
            Column("fwd+bwd, worst", partial(worst, "step")),
            Column("forward, mean", partial(mean, "forward")),
            Column("forward, worst", partial(worst, "forward")),
        ],
        _names(rows),
        [
            "geometric means of medians of paired ratios; every layer in its better memory layout "
            "against nn.Conv3d in its better one",
            "stdcf M,N plan; tensorly has as many parameters as stdcf 3,2",
            *_where(rows),
        ],
    )


def _layers(rows: Sequence[Row], dtype: str, kind: str) -> Table:
    def cell(row: Row, name: str) -> str:
        if name != _BASE:
            return _ratio(best_layout(row, name, f"{kind}_ratio"), kind)
        base = best_layout(row, _BASE, f"{kind}_seconds")
        return f"{1e3 * base[f'{kind}_seconds']:.3g}" if base else "–"

    words = "forward and backward" if kind == "step" else "forward"
    return columns.table(
        f"Time of {words} against nn.Conv3d's, {dtype}, {_batch(rows)}",
        [
            Column("Layer", lambda name: "nn.Conv3d, ms" if name == _BASE else name),
            *(Column(_case(row), partial(cell, row)) for row in rows),
        ],
        [_BASE, *_names(rows)],
        ["C_in to C_out _ T×H×W; the plan that auto took in brackets", *_left_out(rows)],
    )


def _ratio(m: Measurement | None, kind: str) -> str:
    if m is None:
        return "–"
    plan = f" ({m['plan']})" if "plan" in m else ""
    return f"{m[f'{kind}_ratio']:.2f}×{plan}"


def _memory(rows: Sequence[Row], dtype: str) -> Table:
    def cell(row: Row, name: str) -> str:
        found, base = (best_layout(row, which, "step_ratio") for which in (name, _BASE))
        if name == _BASE:
            return cells.mib(base["peak_bytes"] if base else None)
        return f"{found['peak_bytes'] / base['peak_bytes']:.2f}×" if found and base else "–"

    return columns.table(
        f"Peak memory of one layer's step against nn.Conv3d's, {dtype}, {_batch(rows)}",
        [
            Column("Layer", lambda name: "nn.Conv3d, MiB" if name == _BASE else name),
            *(Column(_case(row), partial(cell, row)) for row in rows),
        ],
        [_BASE, *_names(rows)],
        [
            "parameters, input, output, their gradients and temporaries, in the layout that is the "
            f"faster one; measured by {', '.join(sorted({str(r['measured_by']) for r in rows}))}",
        ],
    )


@dataclass(frozen=True)
class _Step:
    """A network's training step with a layer, and with the regular one."""

    name: str
    step: Measurement
    base: Measurement


def _networks(rows: Sequence[Row], dtype: str) -> Table:
    lines = []
    for row in rows:
        base = best_layout(row, _BASE, "step_seconds")
        for name in dict.fromkeys(m["name"] for m in row["measurements"]):
            found = best_layout(row, name, "step_ratio")
            assert found is not None
            assert base is not None
            lines.append(_Step(f"{_case(row)}, {name}", found, base))
    return columns.table(
        f"A whole training step, {dtype}{' by autocast' if dtype == 'bfloat16' else ''}",
        [
            Column[_Step]("Network, layer", lambda x: x.name),
            Column("Layout", lambda x: x.step["layout"]),
            Column("Step, ms", lambda x: f"{1e3 * x.step['step_seconds']:.0f}"),
            Column("time vs regular", lambda x: f"{x.step['step_ratio']:.2f}×"),
            Column(
                "range", lambda x: "{step_ratio_low:.2f}–{step_ratio_high:.2f}".format(**x.step)
            ),
            Column("Peak, MiB", lambda x: cells.mib(x.step["peak_bytes"])),
            Column(
                "memory vs regular",
                lambda x: f"{x.step['peak_bytes'] / x.base['peak_bytes']:.3f}×",
            ),
        ],
        lines,
        ["forward, loss, backward and Adam; each in its better layout", *_where(rows)],
    )


def _names(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(m["name"] for row in rows for m in row["measurements"])
    return [name for name in names if name != _BASE]


def _case(row: Row) -> str:
    return str(row["mode"]).rpartition("-")[0]


def _dtype(row: Row) -> str:
    return str(row["mode"]).rpartition("-")[2]


def _batch(rows: Sequence[Row]) -> str:
    return f"{rows[0]['batch']} clips" if "batch" in rows[0] else ""


def _left_out(rows: Sequence[Row]) -> list[str]:
    names = sorted({name for row in rows for name in row.get("left_out") or ()})
    return [f"not installed, so left out: {', '.join(names)}"] if names else []


def _where(rows: Sequence[Row]) -> list[str]:
    devices = sorted({f"{row['device']}, {row['threads']} threads" for row in rows})
    torches = sorted({row["versions"]["torch"] for row in rows})
    where = f"{'; '.join(devices)}; torch {', '.join(torches)}; {when(rows)}"
    return [where, *provenance_notes(rows)]
