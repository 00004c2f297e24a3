"""Accuracy and peak memory of every technique under one cap."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.experiments.memory_caps.tables import trained_on
from suites.experiments.memory_caps.techniques import in_suite_order, split_mode
from suites.reporting.figures import parts, seeds, style

MIB = 2**20
FILLS = {"epochs": "none", "computation": "full"}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes accuracy_under_cap: a line a layer and technique; nothing without trained runs."""
    trained = in_suite_order(
        [row for row in rows if row["status"] == "ok" and isinstance(row.get("accuracy"), float)]
    )
    if not trained:
        return []
    lines = list(dict.fromkeys(map(_line, trained)))
    caps = {row["cap_bytes"] for row in trained if row.get("cap_bytes")}
    height = 0.7 + 0.24 * len(lines)
    with parts.page(1, 2, height=height, sharey=True, width_ratios=(3, 2)) as (figure, panels):
        accuracy, memory = panels
        for fill in ("none", "full", "left"):
            frame = seeds.tidy(
                (lines.index(_line(row)), row["layer"], [100 * row["accuracy"]])
                for row in trained
                if _fill(row["mode"]) == fill
            )
            seeds.points(accuracy, frame, across=True, **style.filled(fill))
        frame = seeds.tidy(
            (lines.index(_line(row)), row["layer"], [row["measured_peak_bytes"] / MIB])
            for row in trained
        )
        seeds.points(memory, frame, across=True, dots=False)
        for place, line in enumerate(lines):
            own = [row for row in trained if _line(row) == line]
            memory.annotate(
                f"{own[0]['batch_size']} clips",
                (seeds.mean(row["measured_peak_bytes"] / MIB for row in own), place),
                xytext=(-8, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
        accuracy.set_yticks(
            range(len(lines)), [f"{style.layer_name(layer)} {name}" for layer, name in lines]
        )
        accuracy.set_ylim(len(lines) - 0.5, -0.5)
        accuracy.set_xlabel("Clip accuracy, %")
        memory.set_xlabel("Measured peak memory, MiB")
        if len(caps) == 1:
            cap = next(iter(caps)) / MIB
            memory.axvline(cap, color=parts.GRAY, linestyle="--", linewidth=1)
            memory.set_xlim(0, 1.12 * cap)
        return parts.save(figure, folder, "accuracy_under_cap", [], *_caption(trained, bool(caps)))


def _line(row: Row) -> tuple[str, str]:
    return row["layer"], split_mode(row["mode"])[0]


def _fill(mode: str) -> str:
    return "left" if mode.startswith("itsl") else FILLS[split_mode(mode)[1]]


def _caption(rows: Sequence[Row], capped: bool) -> list[str]:
    several = len(rows) > len({(row["layer"], row["mode"]) for row in rows})
    return [
        "open: as many epochs as a stage of ITSL; filled: ITSL's computation, 2.25 times as much; "
        "half: ITSL" + ("; dashed: the cap" if capped else ""),
        f"{trained_on(rows)}; {len({row['seed'] for row in rows})} seed(s)"
        + (", whiskers: 95% intervals, dots: seeds" if several else ""),
        f"{rows[0]['device']}; {max(row['finished'] for row in rows)[:10]}",
    ]
