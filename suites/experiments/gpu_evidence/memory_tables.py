"""Predicted memory against measured, beside the paper's; caps; what it means for the predictor."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from suites.engine.suite import Row
from suites.reporting import cells
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
    if measured:
        found.append(_verdict(measured, others, predicted, run_alone))
    if ok["5"]:
        found.append(_caps(ok["5"]))
    return found


def _cases(rows: Sequence[Row]) -> dict[str, Found]:
    return {one["name"]: one for row in rows for one in row["cases"]}


def _published(name: str, measured: Mapping[str, Found], predicted: Mapping[str, Found]) -> Table:
    body = []
    for case, found in measured.items():
        expected = predicted.get(case, {})
        body.append(
            [
                case,
                cells.mib(found.get("peak_bytes")) if _known(found) else _why(found),
                cells.mib(found.get("reserved_bytes")),
                _predicted(_allocated(expected)),
                _off(expected, found),
                _predicted(expected.get("peak_bytes")),
                _paper(name, case),
                str(found.get("most_clips", "–")),
            ]
        )
    return Table(
        title=f"Table {name}: peak memory of a training step on CUDA, MiB",
        columns=[
            "Step",
            "Measured, allocated",
            "Measured, reserved",
            "Predicted",
            "Off by",
            "Predicted, tensors alone",
            "Paper",
            "Clips that fit the card",
        ],
        rows=body,
        notes=[
            "predicted: tensors in the allocator's blocks, and what cuBLAS and cuDNN take; off by: "
            "predicted over measured",
            "16 clips and Adam for kth_cnn, else 8 clips and SGD; the paper's ITSL is its larger "
            "stage for Table 2",
        ],
    )


def _known(found: Found) -> bool:
    return found.get("status") == "ok"


def _why(found: Found) -> str:
    return str(found.get("status", "not measured"))


def _predicted(n_bytes: float | None) -> str:
    return Cell(cells.mib(n_bytes), "predicted") if n_bytes is not None else "–"


def _off(expected: Found, found: Found) -> str:
    ratio = _ratio(expected, found)
    return "–" if ratio is None else f"{100 * (ratio - 1):+.1f}%"


def _ratio(expected: Found, found: Found) -> float | None:
    if not (_known(expected) and _known(found)):
        return None
    return float((_allocated(expected) or 0) / found["peak_bytes"])


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
_OTHERS = "Networks and a layout by which no rule was made: predicted peak against allocated, MiB"


def _steps(title: str, measured: Mapping[str, Found], predicted: Mapping[str, Found]) -> Table:
    body = []
    for case, found in measured.items():
        expected = predicted.get(case, {})
        body.append(
            [
                case,
                cells.mib(found.get("peak_bytes")) if _known(found) else _why(found),
                _predicted(_allocated(expected)),
                _off(expected, found),
            ]
        )
    return Table(
        title=title,
        columns=["Step", "Measured", "Predicted", "Off by"],
        rows=body,
    )


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
    body, notes = [], []
    for title, expected, found in ways:
        shared = [case for case in found if case in expected and _known(found[case])]
        if not shared:
            body.append([title, "0", *("–" for _ in range(5))])
            continue
        ratios = {c: float((expected[c] or 0) / found[c]["peak_bytes"]) for c in shared}
        low, high = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
        short = max(found[c]["peak_bytes"] - (expected[c] or 0) for c in shared)
        within = sum(abs(ratio - 1) <= _WITHIN for ratio in ratios.values())
        words = [f"{100 * (ratios[end] - 1):+.1f}% ({end})" for end in (low, high)]
        middle = f"{100 * (median(ratios.values()) - 1):+.1f}%"
        counts = [str(len(shared)), str(within)]
        body.append([title, *counts, middle, *words, cells.mib(max(short, 0))])
        notes.append(
            f"{title}: an allowance of {max(short, 0) / MIB:,.0f} MiB would cover every step here"
            if short > 0
            else f"{title}: no step took more than predicted; no allowance is needed here"
        )
    return Table(
        title="What it means for the predictor",
        columns=[
            *("Prediction", "Steps", f"Within {100 * _WITHIN:.0f}%", "Median", "Lowest"),
            *("Highest", "Most short by, MiB"),
        ],
        rows=body,
        notes=notes,
    )


def _caps(rows: Sequence[Row]) -> Table:
    body = []
    for row in rows:
        for one in row["cases"]:
            body.append(
                [
                    str(row["case"]),
                    f"{one['factor']:g}×",
                    cells.mib(one["cap_bytes"]),
                    "fits" if one["status"] == "ok" else str(one["status"]),
                    cells.mib(one.get("peak_bytes")),
                    cells.mib(one.get("reserved_bytes")),
                ]
            )
    return Table(
        title="The allocator's limit at parts of the predicted reserved memory, MiB",
        columns=["Step", "Of the prediction", "Limit", "Ended", "Allocated", "Reserved"],
        rows=body,
    )
