"""§2.4 as a table: what was counted beside what the formulas say."""

from collections.abc import Sequence
from typing import Any

from suites.engine.suite import Row
from suites.reporting.small_print import provenance_notes
from suites.tables.table import Table


def tables(rows: Sequence[Row]) -> list[Table]:
    """Counts at the most channels, then the share of the dense layer over channels."""
    ok = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: row["mode"])
    measured = [(row, one) for row in ok for one in row["measurements"]]
    most = max((one["channels"] for _, one in measured), default=0)
    body = [
        [
            f"{row['t']}×{row['k']}²",
            str(one["spatial_atoms"]),
            str(one["temporal_atoms"]),
            f"{one['params']:,}",
            _same(one["params"], one["formula_params"]),
            _share(one["params"], one["dense_params"]),
            f"{one['macs']:,}",
            _same(one["macs"], one["formula_macs"]),
            _share(one["macs"], one["dense_macs"]),
            f"{100 * one['limit']:.2f}",
        ]
        for row, one in measured
        if one["channels"] == most
    ]
    return [
        Table(
            title=f"§2.4: counted against the formulas, {most} → {most} channels",
            columns=[
                "Filter",
                "M",
                "N",
                "Params, counted",
                "formula",
                "of dense, %",
                "MACs, counted",
                "formula ",
                "of dense, % ",
                "MN/(tk²), %",
            ],
            rows=body,
            notes=_notes(rows, [one for _, one in measured]),
        )
    ]


def _notes(rows: Sequence[Row], measured: Sequence[dict[str, Any]]) -> list[str]:
    if not measured:
        return ["no runs yet", *provenance_notes(rows)]
    wrong = sum(
        one["params"] != one["formula_params"] or one["macs"] != one["formula_macs"]
        for one in measured
    )
    dense = sum(
        one["dense_params"] != one["formula_dense_params"]
        or one["dense_macs"] != one["formula_dense_macs"]
        for one in measured
    )
    own = [one for one in measured if (one["spatial_atoms"], one["temporal_atoms"]) == (3, 2)]
    notes = [
        f"{len(measured)} layers counted: {wrong} differ from the formulas, and of their dense "
        f"layers {dense}; a FLOP count of the paper's is two for each MAC",
        "composing the filter and running one dense convolution (plan composed) costs the dense "
        "layer's MACs: these are of the factored form",
    ]
    if own:
        worst = max(one["macs"] / one["dense_macs"] / one["limit"] for one in own)
        notes.append(
            f"M=3, N=2: MACs are up to {worst:.2f} times what MN/(tk²) says, at the fewest channels"
        )
    return [*notes, *provenance_notes(rows)]


def _same(counted: int, formula: int) -> str:
    return "same" if counted == formula else f"{formula:,}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}"
