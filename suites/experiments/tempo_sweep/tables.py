"""The sweep as text: accuracy at each tempo, with temporal atoms kept and matched."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of, tested
from suites.reporting import columns
from suites.reporting.columns import Column, Line
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

TEMPI = (0.5, 1.0, 2.0, 4.0)
# Mode -> temporal dilation in training. "full" and "dilated_time" as in Table 1.
NETWORKS = {"full": 1, "dilated_time": 2, "dilated_time4": 4}


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line a layer, dilation in training and way."""
    return [
        columns.table(
            f"Test tempo: clip accuracy, % ({describe(rows)})",
            [
                Column[_Line]("Layer", lambda line: columns.layer().cell(line.at(rows, TEMPI[0]))),
                Column("Trained at dilation", lambda line: str(NETWORKS[line.mode])),
                Column("Atoms", lambda line: line.way),
                *(Column(f"{t:g}×", partial(_Line.accuracy, rows=rows, tempo=t)) for t in TEMPI),
                Column("n", lambda line: str(len(line.at(rows, TEMPI[0]).ok))),
            ],
            [
                _Line(layer, mode, way)
                for layer in layers_of(rows)
                for mode in NETWORKS
                for way in ("kept", "matched")
            ],
            [
                "trained at tempo 1; kept: tested at the same dilation; matched: at dilation / "
                "tempo, where that is whole",
                "a clip of 16 frames becomes one of 32, 16, 8 or 4; at 0.5× every second frame is "
                "mixed from its neighbours",
                *provenance_notes(rows),
            ],
        )
    ]


@dataclass(frozen=True)
class _Line:
    layer: str
    mode: str
    way: str

    def at(self, rows: Sequence[Row], tempo: float) -> Line:
        return tested(rows, self.layer, self.mode, f"{self.way}_{tempo:g}")

    def accuracy(self, rows: Sequence[Row], tempo: float) -> str:
        if self.way == "matched" and not (NETWORKS[self.mode] / tempo).is_integer():
            return ""
        return columns.percent("").cell(self.at(rows, tempo))
