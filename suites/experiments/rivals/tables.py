"""Rivals as text: accuracy, peak, multiplications and time of each, and the tests against ITSL."""

from collections.abc import Sequence
from dataclasses import replace

from suites.engine.suite import Row
from suites.experiments.kth_table2.fold_tests import VALUE, Test, paired_table
from suites.experiments.rivals.techniques import (
    CAPS,
    ITSL,
    UNCAPPED,
    multiplications,
    techniques,
)
from suites.reporting import cells, columns
from suites.reporting.columns import Column, Line
from suites.reporting.figures.style import in_order, layer_name
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table


def tables(rows: Sequence[Row]) -> list[Table]:
    """What each technique costs and reaches, and whether it differs from ITSL."""
    if not rows:
        return []
    lines = lines_of(rows)
    tests = paired_table(
        f"Rivals: tests of docs/protocol.md, recalibrated clip accuracy, points ({_on(rows)})",
        _family(lines),
    )
    return [_results(lines, rows), *([tests] if tests else [])]


def lines_of(rows: Sequence[Row]) -> list[Line]:
    """A line a layer and technique, whose key is its mode, beside ITSL with that layer."""
    found = []
    for layer in in_order([row["layer"] for row in rows]):
        own = [row for row in rows if row["layer"] == layer]
        base = [row for row in own if row["mode"] == ITSL]
        for mode in techniques(rows[0]["profile"]):
            of_mode = [row for row in own if row["mode"] == mode]
            if of_mode:
                found.append(Line(of_mode, mode, layer, None if mode == ITSL else base))
    return found


def _again(line: Line) -> Line:
    """By the accuracy with recalibrated statistics, of the rows that have one."""
    base = None if line.base is None else [row for row in line.base if VALUE in row]
    return replace(line, rows=[row for row in line.rows if VALUE in row], base=base, value=VALUE)


_PERCENT = columns.percent("Recalibrated, %")
_DIFFERENCE = columns.difference("vs ITSL")


def _results(lines: Sequence[Line], rows: Sequence[Row]) -> Table:
    profile = rows[0]["profile"]
    cap = CAPS[profile]
    names = {mode: technique.name for mode, technique in techniques(profile).items()}
    return columns.table(
        f"Rivals of ITSL: kth_cnn under {cells.mib(cap)} MiB, ITSL's computation ({_on(rows)})",
        [
            columns.layer(),
            Column[Line]("Technique", lambda line: names[line.key]),
            columns.first("Clips", lambda row: str(row["batch_size"])),
            columns.mib("Peak, MiB", "measured_peak_bytes"),
            columns.first("Fits", lambda row: "yes" if _peak(row) <= cap else "no"),
            columns.first("10¹² multiplications", lambda row: f"{multiplications(row) / 1e12:.1f}"),
            Column[Line]("Minutes", _minutes),
            Column[Line]("Recalibrated, %", lambda line: _PERCENT.cell(_again(line))),
            Column[Line]("vs ITSL", lambda line: _DIFFERENCE.cell(_again(line))),
            columns.more_percent("Clip acc., %", "accuracy"),
            columns.more_percent("Video acc., %", "video_accuracy"),
            columns.count(),
        ],
        lines,
        [
            "clips: of a full-size step, the most that the cap leaves, at most Table 2's; peak: "
            "the largest stage's training step, measured",
            f"{names[UNCAPPED]}: Table 2's control, with its batch",
            "multiplications: forward and backward as three passes, at the stages' sizes, and a "
            "fourth of checkpoint's; minutes: training alone, without tests",
            "± 95% intervals of Student's t over folds or seeds",
            *provenance_notes(rows),
        ],
    )


def _family(lines: Sequence[Line]) -> list[Test]:
    profile = lines[0].rows[0]["profile"]
    return [
        (
            f"{layer_name(line.layer)}: {techniques(profile)[line.key].name} − ITSL",
            {unit: 100 * value for unit, value in cells.by_unit(one.rows, VALUE).items()},
            {unit: 100 * value for unit, value in cells.by_unit(one.base or (), VALUE).items()},
        )
        for line in lines
        if line.base is not None
        for one in [_again(line)]
    ]


def _peak(row: Row) -> float:
    return float(row["measured_peak_bytes"] or 0)


def _minutes(line: Line) -> str:
    values = cells.by_unit(line.rows, lambda row: row["train_seconds"] / 60)
    return f"{sum(values.values()) / len(values):.1f}" if values else "–"


def _on(rows: Sequence[Row]) -> str:
    return describe([{**row, "epochs_per_stage": None, "dtype": "float32 or bf16"} for row in rows])
