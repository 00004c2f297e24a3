"""The sweep as text: accuracy at each tempo, with temporal atoms kept and matched."""

from collections.abc import Sequence

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of, under
from suites.reporting import cells
from suites.reporting.figures.style import layer_name
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

TEMPI = (0.5, 1.0, 2.0, 4.0)
# Mode -> temporal dilation in training. "full" and "dilated_time" as in Table 1.
NETWORKS = {"full": 1, "dilated_time": 2, "dilated_time4": 4}


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line a layer, dilation in training and way."""
    body = []
    for layer in layers_of(rows):
        for mode, dilation in NETWORKS.items():
            for way in ("kept", "matched"):
                groups = [under(rows, layer, mode, f"{way}_{tempo:g}") for tempo in TEMPI]
                body.append(
                    [
                        layer_name(layer) + (" †" if any(r["shipped"] for r in groups[0]) else ""),
                        str(dilation),
                        way,
                        *(
                            cells.percent(group)
                            if way == "kept" or (dilation / tempo).is_integer()
                            else ""
                            for group, tempo in zip(groups, TEMPI, strict=True)
                        ),
                        str(sum(row["status"] == "ok" for row in groups[0])),
                    ]
                )
    return [
        Table(
            title=f"Test tempo: clip accuracy, % ({describe(rows)})",
            columns=["Layer", "Trained at dilation", "Atoms", *(f"{t:g}×" for t in TEMPI), "n"],
            rows=body,
            notes=[
                "trained at tempo 1; kept: tested at the same dilation; matched: at dilation / "
                "tempo, where that is whole",
                "a clip of 16 frames becomes one of 32, 16, 8 or 4; at 0.5× every second frame is "
                "mixed from its neighbours",
                *provenance_notes(rows),
            ],
        )
    ]
