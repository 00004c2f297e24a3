"""§2.4 as a table: what was counted beside what the formulas say."""

from collections.abc import Mapping, Sequence
from typing import Any

from suites.engine.suite import Row
from suites.reporting import columns
from suites.reporting.columns import Column
from suites.reporting.small_print import provenance_notes
from suites.tables.table import Table

_Line = Mapping[str, Any]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Counts at the most channels, then the share of the dense layer over channels."""
    ok = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: row["mode"])
    measured = [(row, one) for row in ok for one in row["measurements"]]
    most = max((one["channels"] for _, one in measured), default=0)
    return [
        columns.table(
            f"§2.4: counted against the formulas, {most} → {most} channels",
            [
                Column[_Line]("Filter", lambda line: "{t}×{k}²".format(**line)),
                Column("M", lambda line: str(line["spatial_atoms"])),
                Column("N", lambda line: str(line["temporal_atoms"])),
                Column("Params, counted", lambda line: f"{line['params']:,}"),
                Column("formula", lambda line: _same(line["params"], line["formula_params"])),
                Column("of dense, %", lambda line: _share(line["params"], line["dense_params"])),
                Column("MACs, counted", lambda line: f"{line['macs']:,}"),
                Column("formula ", lambda line: _same(line["macs"], line["formula_macs"])),
                Column("of dense, % ", lambda line: _share(line["macs"], line["dense_macs"])),
                Column("MN/(tk²), %", lambda line: f"{100 * line['limit']:.2f}"),
            ],
            [{**row, **one} for row, one in measured if one["channels"] == most],
            _notes(rows, [one for _, one in measured]),
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
