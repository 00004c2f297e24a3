"""The layer's speed on a GPU beside its floors, what auto took, and training throughput."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from suites.engine.suite import Row
from suites.experiments.layer_speed.shapes import SHAPES
from suites.experiments.layer_speed.tables import best_layout
from suites.reporting import cells, columns
from suites.reporting.columns import Column
from suites.tables.table import Cell, Table

_BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2}
_AUTO = ("stdcf 3,2", "stdcf 6,2")
_PLANS = ("composed", "factored", "temporal_first", "spatial_first")


@dataclass(frozen=True)
class _Choice:
    """The plan that `auto` took, and the fastest one that was measured."""

    row: Row
    atoms: str
    auto: Mapping[str, Any]
    fastest: str
    loss: float


def auto_table(rows: Sequence[Row]) -> Table:
    """What `auto` took against the fastest plan that was measured, forward and backward."""
    lines = list(_choices(rows))
    worst = max((line.loss for line in lines), default=0.0)
    return columns.table(
        "What it means for auto",
        [
            Column[_Choice]("Shape and type", lambda line: _case(line.row)),
            Column("M,N", lambda line: line.atoms.removeprefix("stdcf ")),
            Column("auto took", lambda line: str(line.auto.get("plan", "–"))),
            Column("Fastest plan", lambda line: line.fastest),
            Column("auto's time of it", lambda line: f"{line.loss:.2f}×"),
        ],
        lines,
        [f"auto takes {worst:.2f}× the fastest plan's time at worst"] if lines else [],
    )


def _choices(rows: Sequence[Row]) -> Iterator[_Choice]:
    for row in rows:
        for atoms in _AUTO:
            auto = best_layout(row, f"{atoms} auto", "step_seconds")
            plans = {
                plan: found["step_seconds"]
                for plan in _PLANS
                if (found := best_layout(row, f"{atoms} {plan}", "step_seconds")) is not None
            }
            if auto is not None and plans:
                fastest = min(plans, key=plans.__getitem__)
                yield _Choice(row, atoms, auto, fastest, auto["step_seconds"] / plans[fastest])


def floors_table(rows: Sequence[Row], machines: Sequence[Row]) -> Table:
    """nn.Conv3d and STDCF beside the time that memory traffic and arithmetic alone would take."""
    machine = next((row for row in machines if str(row["device"]).startswith("cuda")), None)

    def floor(place: int, row: Row) -> str:
        return "–" if machine is None else Cell(_us(_floor(row, machine)[place]), "predicted")

    def time(name: str, row: Row) -> str:
        found = best_layout(row, name, "forward_seconds")
        return _us(found["forward_seconds"] if found else None)

    return columns.table(
        "Forward pass against the machine's floors, µs",
        [
            Column("Shape and type", _case),
            Column("Memory alone", partial(floor, 0)),
            Column("Arithmetic alone", partial(floor, 1)),
            Column("nn.Conv3d", partial(time, "regular")),
            Column("cudnn.benchmark", partial(time, "regular, cudnn.benchmark")),
            *(
                Column(f"{atoms.replace('stdcf', 'STDCF')} auto", partial(time, f"{atoms} auto"))
                for atoms in _AUTO
            ),
        ],
        rows,
        [
            "floors: clip read and output written at the measured copy rate; the dense "
            "convolution's products at the measured matrix rate",
            "medians of calls between CUDA events, new clips each; a short call is launch time",
        ],
    )


def _case(row: Row) -> str:
    return f"{row['mode']}, {row['batch']} clips"


def _floor(row: Row, machine: Row) -> tuple[float, float]:
    shape, _, dtype = str(row["mode"]).rpartition("-")
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
    lines = [
        {**one, "first": row["throughput"][0]["clips_per_second"]}
        for row in rows
        for one in row["throughput"]
    ]
    return columns.table(
        "Training throughput, clips a second",
        [
            Column[Mapping[str, Any]]("Way", lambda way: way["name"]),
            Column("Median", lambda way: f"{way['clips_per_second']:,.1f}"),
            Column(
                "Range",
                lambda x: f"{x['batch'] / x['high']:,.1f}–{x['batch'] / x['low']:,.1f}",
            ),
            Column("Rounds", lambda way: str(way["rounds"])),
            Column(
                "Against the first",
                lambda way: f"{cells.fixed(way['clips_per_second'] / way['first'])}×",
            ),
        ],
        lines,
        ["ITSL's stages (t1, s1) see a quarter of the pixels or half of the frames"],
    )


def kernel_table(rows: Sequence[Row]) -> Table:
    """The fused kernel's largest errors against float64, of every shape and layout."""

    def worst(part: str, row: Row) -> str:
        return f"{max((found[part] for found in row['errors'].values()), default=0):.1e}"

    return columns.table(
        "The fused kernel against float64, relative errors by norms",
        [
            Column[Row]("Type", lambda row: row["dtype"]),
            Column("Cases", lambda row: str(len(row["errors"]))),
            *(
                Column(part, partial(worst, part))
                for part in ("output", "x", "coefficients", "spatial", "temporal")
            ),
        ],
        rows,
        ["the largest of all shapes and layouts; a type is timed after it was found right"],
    )
