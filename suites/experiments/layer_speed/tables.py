"""layer_speed as text: ratios to nn.Conv3d, their geometric means, and memory."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from suites.engine.suite import Row
from suites.experiments.layer_speed.shapes import KTH_CNN, RESNET50
from suites.reporting import cells
from suites.reporting.small_print import provenance_notes, when
from suites.tables.table import Table

Measurement = Mapping[str, Any]


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
    by_case = {_case(row): row for row in rows}
    resnet = [by_case[case] for case in RESNET50 if case in by_case]
    body = []
    for name in _names(rows):
        cells_ = [name]
        for kind in ("step", "forward"):
            found = [best_layout(row, name, f"{kind}_ratio") for row in resnet]
            ratios = [m[f"{kind}_ratio"] for m in found if m is not None]
            whole = len(ratios) == len(RESNET50)
            cells_.append(f"{geometric_mean(ratios):.2f}×" if whole else "–")
            cells_.append(f"{max(ratios):.2f}×" if ratios else "–")
        body.append(cells_)
    return Table(
        title=f"Time against nn.Conv3d over ResNet-50's four shapes, {dtype}, {_batch(rows)}",
        columns=[
            "Layer",
            "fwd+bwd, mean",
            "fwd+bwd, worst",
            "forward, mean",
            "forward, worst",
        ],
        rows=body,
        notes=[
            "geometric means of medians of paired ratios; every layer in its better memory layout "
            "against nn.Conv3d in its better one",
            "stdcf M,N plan; tensorly has as many parameters as stdcf 3,2",
            *_where(rows),
        ],
    )


def _layers(rows: Sequence[Row], dtype: str, kind: str) -> Table:
    body = []
    for name in _names(rows):
        found = [best_layout(row, name, f"{kind}_ratio") for row in rows]
        body.append([name, *(_ratio(m, kind) for m in found)])
    base = [best_layout(row, "regular", f"{kind}_seconds") for row in rows]
    milliseconds = [f"{1e3 * m[f'{kind}_seconds']:.3g}" if m else "–" for m in base]
    words = "forward and backward" if kind == "step" else "forward"
    return Table(
        title=f"Time of {words} against nn.Conv3d's, {dtype}, {_batch(rows)}",
        columns=["Layer", *(_case(row) for row in rows)],
        rows=[["nn.Conv3d, ms", *milliseconds], *body],
        notes=[
            "C_in to C_out _ T×H×W; the plan that auto took in brackets",
            *_left_out(rows),
        ],
    )


def _ratio(m: Measurement | None, kind: str) -> str:
    if m is None:
        return "–"
    plan = f" ({m['plan']})" if "plan" in m else ""
    return f"{m[f'{kind}_ratio']:.2f}×{plan}"


def _memory(rows: Sequence[Row], dtype: str) -> Table:
    body = []
    for name in _names(rows):
        line = [name]
        for row in rows:
            found = best_layout(row, name, "step_ratio")
            base = best_layout(row, "regular", "step_ratio")
            line.append(
                f"{found['peak_bytes'] / base['peak_bytes']:.2f}×" if found and base else "–"
            )
        body.append(line)
    peaks = [best_layout(row, "regular", "step_ratio") for row in rows]
    first = ["nn.Conv3d, MiB", *(cells.mib(m["peak_bytes"] if m else None) for m in peaks)]
    return Table(
        title=f"Peak memory of one layer's step against nn.Conv3d's, {dtype}, {_batch(rows)}",
        columns=["Layer", *(_case(row) for row in rows)],
        rows=[first, *body],
        notes=[
            "parameters, input, output, their gradients and temporaries, in the layout that is the "
            f"faster one; measured by {', '.join(sorted({str(r['measured_by']) for r in rows}))}",
        ],
    )


def _networks(rows: Sequence[Row], dtype: str) -> Table:
    body = []
    for row in rows:
        base = best_layout(row, "regular", "step_seconds")
        for name in dict.fromkeys(m["name"] for m in row["measurements"]):
            found = best_layout(row, name, "step_ratio")
            assert found is not None
            assert base is not None
            body.append(
                [
                    f"{_case(row)}, {name}",
                    found["layout"],
                    f"{1e3 * found['step_seconds']:.0f}",
                    f"{found['step_ratio']:.2f}×",
                    f"{found['step_ratio_low']:.2f}–{found['step_ratio_high']:.2f}",
                    cells.mib(found["peak_bytes"]),
                    f"{found['peak_bytes'] / base['peak_bytes']:.3f}×",
                ]
            )
    return Table(
        title=f"A whole training step, {dtype}{' by autocast' if dtype == 'bfloat16' else ''}",
        columns=[
            "Network, layer",
            "Layout",
            "Step, ms",
            "time vs regular",
            "range",
            "Peak, MiB",
            "memory vs regular",
        ],
        rows=body,
        notes=["forward, loss, backward and Adam; each in its better layout", *_where(rows)],
    )


def _names(rows: Sequence[Row]) -> list[str]:
    names = dict.fromkeys(m["name"] for row in rows for m in row["measurements"])
    return [name for name in names if name != "regular"]


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
