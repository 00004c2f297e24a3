"""Memory caps as text: what fits, what it costs, and accuracy under one cap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from suites.engine.suite import Row
from suites.experiments.memory_caps.techniques import (
    BUDGETS,
    LARGEST_BATCH,
    in_suite_order,
    split_mode,
)
from suites.reporting import cells, columns
from suites.reporting.columns import Column, Line
from suites.reporting.figures.style import LAYER_NAMES
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

GIB = 2**30
_Way = Mapping[str, Any]


def tables(rows: Sequence[Row]) -> list[Table]:
    """One table a network, then costs measured here, then accuracy; each if there are rows."""
    rows = in_suite_order(rows)
    plans = [row for row in rows if "dataset" in row and row["dataset"] == "none"]
    trained = [row for row in rows if row["dataset"] != "none"]
    found = []
    for network in dict.fromkeys(row["model"] for row in plans):
        own = [row for row in plans if row["model"] == network]
        found.append(_fits(network, own))
        if any("step_seconds" in way for row in own for way in _ways(row).values()):
            found.append(_measured(network, own))
    return [*found, *([_accuracy(trained)] if trained else [])]


def _ways(row: Row) -> Mapping[str, _Way]:
    return row.get("techniques") or {}


@dataclass(frozen=True)
class _Step:
    """A layer's steps with one technique, and plain full size's."""

    layer: str
    name: str
    way: _Way
    plain: _Way

    def share(self, field: str) -> str:
        return f"{self.way[field] / self.plain[field]:.2f}"

    def off(self) -> str:
        off = self.way["measured_peak_bytes"] / self.way["predicted_here_bytes"] - 1
        return f"{100 * off:+.2f}%"


def _steps(rows: Sequence[Row]) -> list[_Step]:
    return [
        _Step(LAYER_NAMES[row["layer"]], name, way, _ways(row)["full size"])
        for row in rows
        for name, way in _ways(row).items()
    ]


_NAMES = [
    Column[_Step]("Layer", lambda step: step.layer),
    Column[_Step]("Technique", lambda step: step.name),
]


def _fits(network: str, rows: Sequence[Row]) -> Table:
    ok = [row for row in rows if row["status"] == "ok"]
    caps = list(next(iter(_ways(ok[0]).values()))["room"]) if ok else []
    size = "×".join(map(str, ok[0]["input_shape"])) if ok else "–"
    return columns.table(
        f"{network}: clips a step under each cap (predicted for CUDA, plan {size})",
        [
            *_NAMES,
            Column("Peak, GiB", lambda step: f"{step.way['peak_bytes'] / GIB:.2f}"),
            Column("of full", lambda step: step.share("peak_bytes")),
            Column("Reserved", lambda step: f"{step.way['reserved_bytes'] / GIB:.2f}"),
            Column("Step", lambda step: f"{step.way['step_cost']:.2f}×"),
            Column("Training", lambda step: f"{step.way['training_cost']:.2f}×"),
            *(Column(f"{cap} GiB", partial(_room_under, cap)) for cap in caps),
        ],
        _steps(ok),
        [
            "peak: all tensors of a step with the plan's batch; reserved: the CUDA allocator's "
            "blocks, simulated, with what cuBLAS and cuDNN take of it, which is what the caps are "
            "about: each is the allocator's own limit, and a card needs CUDA's context (some 800 "
            "MiB) on top of it, which suites.plan counts",
            "step, training: multiplications against plain full size, at equal epochs a stage; "
            "under each cap: the largest batch, or of one clip the largest height and width",
            *provenance_notes(rows),
        ],
    )


def _room_under(cap: str, step: _Step) -> str:
    return _room(step.way["room"][cap])


def _room(clips: float) -> str:
    """The batch that fits, or what part of one clip's height and width does."""
    if clips >= 1:
        return f"{int(clips):,}"
    return f"1 at {100 * clips**0.5:.0f}%" if clips > 0 else "none"


def _measured(network: str, rows: Sequence[Row]) -> Table:
    first = rows[0]
    size = "×".join(map(str, first.get("measured_shape") or ()))
    return columns.table(
        f"{network}: steps that ran, {size} on {first['device']}",
        [
            *_NAMES,
            Column("Peak, MiB", lambda step: cells.mib(step.way["measured_peak_bytes"])),
            Column("of full", lambda step: step.share("measured_peak_bytes")),
            Column("vs predicted", _Step.off),
            Column("Step, s", lambda step: f"{step.way['step_seconds']:.3f}"),
            Column("of full's", lambda step: step.share("step_seconds") + "×"),
        ],
        [step for step in _steps(rows) if "step_seconds" in step.way],
        [
            f"peak measured by {first.get('measured_by')}; time: median, of ITSL the mean of its "
            f"two stages; {first['threads']} thread(s)"
        ],
    )


def _accuracy(rows: Sequence[Row]) -> Table:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["mode"]), []).append(row)
    caps = {row["cap_bytes"] for row in rows if row.get("cap_bytes")}
    cap = f", cap {cells.mib(caps.pop())} MiB" if len(caps) == 1 else ""
    return columns.table(
        f"kth_cnn under one cap ({trained_on(rows)}{cap})",
        [
            columns.layer(),
            Column[Line]("Technique", lambda line: line.key[0]),
            Column("For", lambda line: BUDGETS.get(line.key[1], line.key[1])),
            columns.first("Batch", lambda row: str(row["batch_size"])),
            columns.first("Epochs a stage", lambda row: str(row["epochs_per_stage"])),
            columns.mib("Peak meas., MiB", "measured_peak_bytes"),
            columns.percent("Clip acc., %"),
            columns.count(),
            columns.seconds("Seconds"),
        ],
        [Line(group, split_mode(mode), layer) for (layer, mode), group in groups.items()],
        [
            f"batch: the largest that fits, at most {LARGEST_BATCH[rows[0]['profile']]}",
            "ITSL has six stages on smaller clips, of 2.25 times the computation of full size's",
            *provenance_notes(rows),
        ],
    )


def trained_on(rows: Sequence[Row]) -> str:
    """What trained rows were measured on; epochs and types of numbers are their own."""
    return describe([{**row, "epochs_per_stage": None, "dtype": "float32 or bf16"} for row in rows])
