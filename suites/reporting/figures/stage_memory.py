"""Peak memory of each stage's training step, by layer."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.reporting.figures import parts, seeds, style
from suites.reporting.figures.groups import Group, groups_of, modes_of
from suites.reporting.measure import units

MIB = 2**20
_MOST_BARS = 14
_ROOM_FOR_NAMES, _ROOM_FOR_NUMBERS = 8, 24


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes stage_memory; nothing where no row tells its stages' peaks.

    Stages of a mode that need the same in every layer (those of later iterations) stand together.
    """
    groups = groups_of([row for row in rows if row.get("stage_peak_bytes")])
    if not groups:
        return []
    places = [
        (mode, stages)
        for mode in modes_of([group.mode for group in groups])
        for stages in _alike([group for group in groups if group.mode == mode])
    ]
    shown = places[:_MOST_BARS]
    layers = style.in_order([group.layer for group in groups])
    width = 0.8 / len(layers)
    frame = seeds.tidy(
        (x + (layers.index(group.layer) - (len(layers) - 1) / 2) * width, group.layer, peaks)
        for x, (mode, stages) in enumerate(shown)
        for group in groups
        if group.mode == mode
        if (peaks := _peaks(group, stages[0]))
    )
    with parts.page() as (figure, (axes,)):
        numbers = ".0f" if len(shown) * len(layers) <= _ROOM_FOR_NUMBERS else ""
        seeds.bars(axes, frame, width=width, numbers=numbers, fontsize=6, dots=False)
        labels = [_label(*place) for place in shown]
        crowded = len(shown) > _ROOM_FOR_NAMES
        if crowded:
            # Long names of modes would run into each other.
            labels = [label.replace("_", "\n") for label in labels]
        axes.set_xticks(range(len(shown)), labels, fontsize=6 if crowded else 7)
        axes.set_ylabel("Measured peak memory, MiB")
        axes.set_title("Peak memory of each stage's training step", loc="left")
        parts.legend(figure, layers)
        used = [row for group in groups for row in group.rows]
        by = ", ".join(sorted({str(row.get("measured_by")) for row in used}))
        more = len(places) - len(shown)
        return parts.save(
            figure,
            folder,
            "stage_memory",
            used,
            f"means over {units(used)}, measured by {by}; below each bar: stages, mode"
            + (f"; {more} more stages are not drawn" if more else ""),
        )


def _peaks(group: Group, stage: str) -> list[float]:
    peaks = [row["stage_peak_bytes"].get(stage) for row in group.rows]
    return [peak / MIB for peak in peaks if peak is not None]


def _alike(groups: Sequence[Group]) -> list[list[str]]:
    """The stages of one mode, those with the same peaks in all rows together."""
    found: dict[str, list[str]] = {}
    names = dict.fromkeys(
        name for group in groups for row in group.rows for name in row["stage_peak_bytes"]
    )
    for name in names:
        peaks = [row["stage_peak_bytes"].get(name) for group in groups for row in group.rows]
        found.setdefault(repr(peaks), []).append(name)
    return list(found.values())


def _label(mode: str, stages: Sequence[str]) -> str:
    shown = stages if len(stages) <= 3 else [stages[0], "…", stages[-1]]
    return style.plain(f"{' '.join(shown)}\n{mode}" if list(stages) != [mode] else mode)
