"""The layer's speed on a GPU beside its floors, what auto took, and training throughput."""

from collections.abc import Sequence
from typing import Any

from suites.engine.suite import Row
from suites.experiments.layer_speed.shapes import SHAPES
from suites.experiments.layer_speed.tables import best_layout
from suites.reporting import cells
from suites.tables.table import Cell, Table

_BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2}
_AUTO = ("stdcf 3,2", "stdcf 6,2")
_PLANS = ("composed", "factored", "temporal_first", "spatial_first")


def auto_table(rows: Sequence[Row]) -> Table:
    """What `auto` took against the fastest plan that was measured, forward and backward."""
    body, losses = [], []
    for row in rows:
        for atoms in _AUTO:
            auto = best_layout(row, f"{atoms} auto", "step_seconds")
            plans = {
                plan: found["step_seconds"]
                for plan in _PLANS
                if (found := best_layout(row, f"{atoms} {plan}", "step_seconds")) is not None
            }
            if auto is None or not plans:
                continue
            fastest = min(plans, key=plans.__getitem__)
            loss = auto["step_seconds"] / plans[fastest]
            losses.append(loss)
            words = [str(auto.get("plan", "–")), fastest, f"{loss:.2f}×"]
            body.append([_case(row), atoms.removeprefix("stdcf "), *words])
    worst = f"auto takes {max(losses):.2f}× the fastest plan's time at worst" if losses else ""
    return Table(
        title="What it means for auto",
        columns=["Shape and type", "M,N", "auto took", "Fastest plan", "auto's time of it"],
        rows=body,
        notes=[worst] if worst else [],
    )


def floors_table(rows: Sequence[Row], machines: Sequence[Row]) -> Table:
    """nn.Conv3d and STDCF beside the time that memory traffic and arithmetic alone would take."""
    machine = next((row for row in machines if str(row["device"]).startswith("cuda")), None)
    body = []
    for row in rows:
        shape, _, dtype = str(row["mode"]).rpartition("-")
        floor = None if machine is None else _floor(row, shape, dtype, machine)
        times = [
            found["forward_seconds"] if found else None
            for name in ("regular", "regular, cudnn.benchmark", *(f"{a} auto" for a in _AUTO))
            for found in [best_layout(row, name, "forward_seconds")]
        ]
        floors = floor or (None, None)
        cells_ = [Cell(_us(value), "predicted") if value else "–" for value in floors]
        body.append([_case(row), *cells_, *map(_us, times)])
    return Table(
        title="Forward pass against the machine's floors, µs",
        columns=[
            "Shape and type",
            "Memory alone",
            "Arithmetic alone",
            "nn.Conv3d",
            "cudnn.benchmark",
            *(f"STDCF {atoms.removeprefix('stdcf ')} auto" for atoms in _AUTO),
        ],
        rows=body,
        notes=[
            "floors: clip read and output written at the measured copy rate; the dense "
            "convolution's products at the measured matrix rate",
            "medians of calls between CUDA events, new clips each; a short call is launch time",
        ],
    )


def _case(row: Row) -> str:
    return f"{row['mode']}, {row['batch']} clips"


def _floor(row: Row, shape: str, dtype: str, machine: Row) -> tuple[float, float]:
    c_in, c_out = SHAPES[shape].in_channels, SHAPES[shape].out_channels
    positions = row["batch"] * SHAPES[shape].positions
    traffic_bytes = (c_in + c_out) * positions * _BYTES[dtype]
    flops = 2 * 27 * c_in * c_out * positions
    rate: dict[str, Any] = machine["matrix"][dtype]
    return traffic_bytes / machine["copy"]["bytes_per_second"], flops / rate["flops_per_second"]


def _us(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e6:,.1f}"


def throughput_table(rows: Sequence[Row]) -> Table:
    """Clips a second of every way to train, and against its network's first."""
    body = []
    for row in rows:
        first = row["throughput"][0]["clips_per_second"] if row["throughput"] else None
        for one in row["throughput"]:
            rate = one["clips_per_second"]
            ends = [one["batch"] / one[end] for end in ("high", "low")]
            words = [f"{rate:,.1f}", f"{ends[0]:,.1f}–{ends[1]:,.1f}", str(one["rounds"])]
            body.append([one["name"], *words, f"{cells.fixed(rate / first)}×"])
    return Table(
        title="Training throughput, clips a second",
        columns=["Way", "Median", "Range", "Rounds", "Against the first"],
        rows=body,
        notes=["ITSL's stages (t1, s1) see a quarter of the pixels or half of the frames"],
    )
