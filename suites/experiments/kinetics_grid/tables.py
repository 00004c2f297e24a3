"""The ablation on Kinetics-400 as text: what came out of every point."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from suites.engine.suite import Row
from suites.experiments.kinetics_grid.points import GIB, Point, points_by_mode
from suites.reporting import columns
from suites.reporting.columns import Column, Line
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table


@dataclass(frozen=True)
class _Ran(Line):
    """The runs of a point, which is the line's key."""

    @property
    def point(self) -> Point:
        point: Point = self.key
        return point

    @property
    def cap_bytes(self) -> int | None:
        return self.rows[0].get("cap_bytes") or self.point.cap_bytes


def _itsl(head: str, text: Callable[[Point], str], full: str = "") -> Column[_Ran]:
    return Column(head, lambda x: full if x.point.iterations is None else text(x.point))


_POINT: list[Column[_Ran]] = [
    Column("Layer", lambda x: x.point.layer),
    Column("M, N", lambda x: "{}, {}".format(*x.point.atoms) if x.point.atoms else ""),
    _itsl("E", lambda point: str(point.iterations), full="full size"),
    _itsl("β", lambda point: str(point.beta)),
    _itsl("γ", lambda point: str(point.gamma)),
    _itsl("Dilated", lambda point: "yes" if point.dilated else "no"),
    Column("Cap, GiB", lambda x: "none" if x.cap_bytes is None else f"{x.cap_bytes / GIB:g}"),
]
_RESULTS: list[Column[_Ran]] = [
    *_POINT,
    columns.count(),
    columns.percent("Top-1, %", "video_accuracy"),
    columns.more_percent("Top-5, %", "video_top5"),
    columns.mib("Peak, pred., MiB", "predicted_peak_bytes"),
    columns.mib("Peak, meas., MiB", "measured_peak_bytes"),
    columns.first("Hours", lambda row: f"{row['train_seconds'] / 3600:.2f}"),
]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy and memory of every point that has run."""
    by_mode = points_by_mode()
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["mode"]), []).append(row)
    lines = [_Ran(groups[key], point) for key, point in by_mode.items() if key in groups]
    title = f"kinetics_grid: {len(lines)} of {len(by_mode)} points ({describe(rows)})"
    return [columns.table(title, _RESULTS, lines, provenance_notes(rows))]
