"""Predicted memory against measured, beside the paper's; caps; what it means for the predictor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from stdcf.memory.report import MARGIN, Fits, fits
from suites.engine.suite import Row
from suites.experiments.gpu_evidence.error_tables import errors_table, estimates_table, steps_of
from suites.reporting import cells, columns
from suites.reporting.columns import Column
from suites.reporting.published import number, published
from suites.tables.table import Cell, Table

MIB, GIB = 2**20, 2**30
# Of the measured peak: the bar that the predictor is held to.
_WITHIN = 0.05
Found = Mapping[str, Any]
_PAPER3 = {
    "resnet3d_50 stdcf full": "STDCF-R50",
    "resnet3d_50 stdcf t1": "STDCF-R50-t-3",
    "resnet3d_50 stdcf s1": "STDCF-R50-s-3",
    "r2plus1d_34 full": "R(2+1)D",
    "slowfast_r50_8x8 full": "SlowFast",
    "tsm_r50 full": "TSM",
    "tin_r50 full": "TIN",
}


def memory_tables(ok: Mapping[str, Sequence[Row]]) -> list[Table]:
    """Of the rows by item: Tables 2 and 3, savers, caps and the verdict, each if there are rows."""
    predicted = _cases(ok["predicted"])
    run_alone = _cases([r for r in ok["4"] if "-workspaces-" in r["mode"]])
    savers = _cases([r for r in ok["4"] if "-savers-" in r["mode"]])
    others = _cases([r for r in ok["4"] if "-others-" in r["mode"]])
    found, measured = [], {**savers}
    for name in ("2", "3"):
        own = _cases(ok[name])
        measured |= own
        if own:
            found.append(_published(name, own, predicted))
        elif any(f"-{name}-" in row["mode"] for row in ok["predicted"]):
            names = _cases([r for r in ok["predicted"] if f"-{name}-" in r["mode"]])
            found.append(_published(name, {key: {} for key in names}, predicted))
    if savers:
        found.append(_steps(_SAVERS, savers, predicted))
    if others:
        found.append(_steps(_OTHERS, others, predicted))
    if fused := _cases([r for r in ok["9"] if "-memory-" in r["mode"]]):
        found.append(_steps(_FUSED, fused, predicted))
    if measured:
        found.append(_verdict(measured, others, predicted, run_alone))
    rows = [
        row for name in ("2", "3", "4") for row in ok[name] if "-workspaces-" not in row["mode"]
    ]
    if steps := steps_of(rows, predicted):
        found.append(errors_table(steps))
    caps = [row for row in ok["5"] if "case" in row]
    if caps:
        found.append(_caps(caps, predicted))
    estimates = [row for row in ok["5"] if "case" not in row]
    if estimates:
        found.append(estimates_table(estimates))
    return found


def _cases(rows: Sequence[Row]) -> dict[str, Found]:
    return {one["name"]: one for row in rows for one in row["cases"]}


@dataclass(frozen=True)
class _Step:
    """A step as measured, and as predicted."""

    name: str
    measured: Found
    predicted: Found

    def peak(self) -> str:
        """Measured; else how it ended."""
        if _known(self.measured):
            return cells.mib(self.measured.get("peak_bytes"))
        return str(self.measured.get("status", "not measured"))

    def off(self) -> str:
        if not (_known(self.predicted) and _known(self.measured)):
            return "–"
        ratio = (_allocated(self.predicted) or 0) / self.measured["peak_bytes"]
        return _percent(ratio)

    def reserved_off(self) -> str:
        known = _known(self.predicted) and _known(self.measured)
        if not known or not self.predicted.get("reserved_bytes"):
            return "–"
        return _percent(self.predicted["reserved_bytes"] / self.measured["reserved_bytes"])


_NAME = Column[_Step]("Step", lambda step: step.name)
_OFF = Column("Off by", _Step.off)
_PREDICTED = Column[_Step]("Predicted", lambda step: _predicted(_allocated(step.predicted)))
_RESERVED = (
    Column[_Step](
        "Reserved, predicted", lambda step: _predicted(step.predicted.get("reserved_bytes"))
    ),
    Column("Reserved, off by", _Step.reserved_off),
)


def _pairs(measured: Mapping[str, Found], predicted: Mapping[str, Found]) -> list[_Step]:
    return [_Step(name, found, predicted.get(name, {})) for name, found in measured.items()]


def _published(name: str, measured: Mapping[str, Found], predicted: Mapping[str, Found]) -> Table:
    return columns.table(
        f"Table {name}: peak memory of a training step on CUDA, MiB",
        [
            _NAME,
            Column("Measured, allocated", _Step.peak),
            Column("Measured, reserved", lambda x: cells.mib(x.measured.get("reserved_bytes"))),
            _PREDICTED,
            _OFF,
            Column("Predicted, tensors alone", lambda x: _predicted(x.predicted.get("peak_bytes"))),
            Column("Paper", lambda step: _paper(name, step.name)),
            Column("Clips that fit the card", lambda x: str(x.measured.get("most_clips", "–"))),
            *_RESERVED,
        ],
        _pairs(measured, predicted),
        [
            "predicted: tensors in the allocator's blocks, and what cuBLAS and cuDNN take; off by: "
            "predicted over measured",
            "16 clips and Adam for kth_cnn, else 8 clips and SGD; the paper's ITSL is its larger "
            "stage for Table 2",
        ],
    )


def _known(found: Found) -> bool:
    return found.get("status") == "ok"


def _predicted(n_bytes: float | None) -> str:
    return Cell(cells.mib(n_bytes), "predicted") if n_bytes is not None else "–"


def _allocated(expected: Found) -> float | None:
    """In the allocator's blocks, which is what is measured; of old rows the tensors' bytes."""
    found: float | None = expected.get("allocated_bytes") or expected.get("peak_bytes")
    return found


def _paper(name: str, case: str) -> str:
    if name == "2":
        _, layer, relu, stage, _ = case.split()
        # The paper's ITSL is its larger stage, stage-s.
        mode = {"full": "full", "s1": "itsl"}.get(stage)
        rows = published("table2_kth")
        row = next((r for r in rows if (r["layer"], r["mode"]) == (layer, mode)), None)
        value = number(row, "peak_memory_mib") if relu.endswith("input") else None
    else:
        model = _PAPER3.get(case.rpartition(" ")[0])
        rows = [r for r in published("table3_kinetics400") if r["model"] == model]
        gib = number(rows[0], "memory_gb") if rows else None
        value = None if gib is None else gib * GIB / MIB
    return "–" if value is None else Cell(f"{value:,.1f}", "published")


_SAVERS = "Every network, saver and type: predicted peak against allocated, MiB"
_FUSED = "Networks with the fused kernel: predicted peak against allocated, MiB"
_OTHERS = "Networks and a layout by which no rule was made: predicted peak against allocated, MiB"


def _steps(title: str, measured: Mapping[str, Found], predicted: Mapping[str, Found]) -> Table:
    reserved = Column[_Step]("Reserved", lambda x: cells.mib(x.measured.get("reserved_bytes")))
    shown = [_NAME, Column("Measured", _Step.peak), _PREDICTED, _OFF, reserved, *_RESERVED]
    return columns.table(title, shown, _pairs(measured, predicted))


@dataclass(frozen=True)
class _Verdict:
    """How far one way to predict is off; steps are names with predicted and measured bytes."""

    title: str
    steps: Sequence[tuple[str, float, float]]

    @property
    def ratios(self) -> list[float]:
        return [expected / found for _, expected, found in self.steps]

    @property
    def short(self) -> float:
        return max(found - expected for _, expected, found in self.steps)

    def shown(self, text: Callable[[], str]) -> str:
        return text() if self.steps else "–"

    def within(self) -> str:
        if not self.steps:
            return "–"
        return str(sum(abs(ratio - 1) <= _WITHIN for ratio in self.ratios))

    def end(self, which: Callable[[Sequence[float]], float]) -> str:
        ratio = which(self.ratios)
        return f"{_percent(ratio)} ({self.steps[self.ratios.index(ratio)][0]})"

    def allowance(self) -> str:
        if self.short > 0:
            needed = f"{self.short / MIB:,.0f} MiB"
            return f"{self.title}: an allowance of {needed} would cover every step here"
        return f"{self.title}: no step took more than predicted; no allowance is needed here"


def _steps_of(
    expected: Mapping[str, float | None], measured: Mapping[str, Found]
) -> list[tuple[str, float, float]]:
    return [
        (name, expected[name] or 0, found["peak_bytes"])
        for name, found in measured.items()
        if name in expected and _known(found)
    ]


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"


def _verdict(
    measured: Mapping[str, Found],
    others: Mapping[str, Found],
    predicted: Mapping[str, Found],
    run_alone: Mapping[str, Found],
) -> Table:
    """How far the predictor is off, with and without what it knows of the libraries."""
    known = {case: found for case, found in predicted.items() if _known(found)}
    alone = {case: found for case, found in run_alone.items() if _known(found)}
    tensors = {case: found["peak_bytes"] for case, found in known.items()}
    modelled = {case: _allocated(found) for case, found in known.items()}
    by_running = {case: found["peak_bytes"] for case, found in alone.items()}
    ways = [
        ("tensors alone", tensors, measured),
        ("with cuBLAS and cuDNN modelled", modelled, measured),
        ("the same, where no rule was made", modelled, others),
        ("tensors, and operators run alone", by_running, measured),
    ]
    lines = [_Verdict(title, _steps_of(expected, found)) for title, expected, found in ways]
    return columns.table(
        "What it means for the predictor",
        [
            Column[_Verdict]("Prediction", lambda line: line.title),
            Column("Steps", lambda line: str(len(line.steps))),
            Column(f"Within {100 * _WITHIN:.0f}%", _Verdict.within),
            Column("Median", lambda line: line.shown(lambda: _percent(median(line.ratios)))),
            Column("Lowest", lambda line: line.shown(lambda: line.end(min))),
            Column("Highest", lambda line: line.shown(lambda: line.end(max))),
            Column("Most short by, MiB", lambda x: x.shown(lambda: cells.mib(max(x.short, 0)))),
        ],
        lines,
        [line.allowance() for line in lines if line.steps],
    )


def _caps(rows: Sequence[Row], predicted: Mapping[str, Found]) -> Table:
    """Steps under a limit, beside what is said today of the same step and limit."""
    lines = [
        {
            **one,
            "step": row["case"],
            "said": _said(one["cap_bytes"], predicted.get(row["case"], {})),
        }
        for row in rows
        for one in row["cases"]
    ]
    ran_against = sum(one["status"] == "ok" and one["said"] is Fits.NO for one in lines)
    failed_against = sum(one["status"] != "ok" and _safe(one["said"]) for one in lines)
    known = sum(one["said"] is not None for one in lines)
    return columns.table(
        "The allocator's limit at parts of the predicted reserved memory, MiB",
        [
            Column[Found]("Step", lambda cap: str(cap["step"])),
            Column("Of the prediction", lambda cap: f"{cap['factor']:g}×"),
            Column("Limit", lambda cap: cells.mib(cap["cap_bytes"])),
            Column("Ended", lambda x: "fits" if x["status"] == "ok" else str(x["status"])),
            Column("Allocated", lambda cap: cells.mib(cap.get("peak_bytes"))),
            Column("Reserved", lambda cap: cells.mib(cap.get("reserved_bytes"))),
            Column(
                "Smallest cap, predicted",
                lambda x: cells.mib(predicted.get(x["step"], {}).get("smallest_cap_bytes")),
            ),
            Column("Fits, as said today", lambda x: "unknown" if x["said"] is None else x["said"]),
        ],
        lines,
        [
            "the limits are parts of what was predicted before libraries were modelled; said "
            f"today: with the margin of {100 * MARGIN:.0f}%, without the context",
            f"of {known} steps, said to fit and failed: {failed_against}; said not to fit and ran: "
            f"{ran_against}",
        ],
    )


def _said(cap_bytes: int, prediction: Found) -> Fits | None:
    if "smallest_cap_bytes" not in prediction:
        return None
    smallest, reserved = prediction["smallest_cap_bytes"], prediction["reserved_bytes"]
    return fits(cap_bytes, smallest, reserved, MARGIN)


def _safe(said: Fits | None) -> bool:
    return said is not None and said.safely
