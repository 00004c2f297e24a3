"""The sweep as text: each trial's accuracy on validation persons, and what is chosen by it."""

from collections.abc import Sequence

from suites.engine.suite import Row
from suites.experiments.shared.rates import GROUPS, Rate, trials
from suites.reporting.cells import fixed
from suites.reporting.figures.style import in_order, layer_name
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

MODES = {"full": "full size", "itsl": "ITSL, E=3"}


def tables(rows: Sequence[Row]) -> list[Table]:
    """The mean of every trial by group of test persons, and the choice."""
    layers = in_order([str(row["layer"]) for row in rows])
    body = []
    for layer in layers:
        for mode in MODES:
            best = {group: chosen(rows, group, layer, mode) for group in (*GROUPS, "all")}
            for rate in trials(layer):
                line = [layer_name(layer), MODES[mode], f"{rate.lr:g}", f"{rate.atom_lr:g}"]
                for group in (*GROUPS, "all"):
                    mark = " *" if best[group] == rate else ""
                    line.append(_mean(rows, group, layer, mode, rate) + mark)
                body.append(line)
    groups = "; ".join(f"{group}: {', '.join(persons)}" for group, persons in GROUPS.items())
    notes = [
        f"A, B, C: the test persons who took no part in the runs ({groups}); mean over two pairs "
        "of validation persons, of all: over six",
        "* the highest, on a tie the lower rate: what Table 2 trains with (docs/protocol.md)",
        *provenance_notes(rows),
    ]
    columns = ["Layer", "Training", "Rate", "Atoms ×", *(f"Without {g}" for g in GROUPS), "All"]
    title = f"Recalibrated clip accuracy on validation persons, % ({describe(rows)})"
    return [Table(title, columns, body, notes)]


def accuracy(rows: Sequence[Row], group: str, layer: str, mode: str, rate: Rate) -> float | None:
    """Mean recalibrated clip accuracy of a trial; None before all of its splits are there.

    A run without an accuracy, because the loss became NaN at this rate, counts as 0.
    """
    found = _splits(rows, group, layer, mode, rate)
    return sum(found) / len(found) if len(found) >= _wanted(group) else None


def _mean(rows: Sequence[Row], group: str, layer: str, mode: str, rate: Rate) -> str:
    found, wanted = _splits(rows, group, layer, mode, rate), _wanted(group)
    text = fixed(100 * sum(found) / len(found) if found else None)
    return f"{text} ({len(found)} of {wanted})" if 0 < len(found) < wanted else text


def _wanted(group: str) -> int:
    return 2 * len(GROUPS) if group == "all" else 2


def _splits(rows: Sequence[Row], group: str, layer: str, mode: str, rate: Rate) -> list[float]:
    return [
        float(row.get("recalibrated_accuracy", 0.0))
        for row in rows
        if (row["layer"], row["options"]["trains_by"]) == (layer, mode)
        and Rate(row["lr"], row["atom_lr"]) == rate
        and group in ("all", row["options"]["group"])
    ]


def chosen(rows: Sequence[Row], group: str, layer: str, mode: str) -> Rate | None:
    """The best trial, on a tie the one of the lower rate; None before all are there."""
    means = {rate: accuracy(rows, group, layer, mode, rate) for rate in trials(layer)}
    if any(mean is None for mean in means.values()):
        return None
    return max(sorted(means), key=lambda rate: means[rate] or 0.0)
