"""Maps of two stages' networks laid over frames, and how much of them lies where clips move."""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from suites.engine.suite import Row
from suites.experiments.shared.conditions import layers_of
from suites.experiments.shared.stage_maps import after, stage_words, stages_of
from suites.reporting.figures import grids, parts, seeds, style
from suites.reporting.pictures import unpacked

_SHOWN_LAYER = "stdcf"
_NAME_CHARACTERS = 24


def draw(rows: Sequence[Row], folder: Path, name: str, what: str) -> list[Path]:
    """Writes the maps of STDCF's first seed as `name`, and the numbers as `name`_on_motion.

    Args:
        what: the map, in words for the small print.
    """
    ok = [row for row in rows if row["status"] == "ok" and row.get("looks")]
    if not ok:
        return []
    row = next((r for r in ok if r["layer"] == _SHOWN_LAYER and r.get("pictures")), None)
    maps = []
    if row is not None:
        words = (
            f"STDCF, seed {row['seed']}; {what}, over the frames; the brighter the more, each "
            "network's own scale; beside it what the network takes the clip for"
        )
        lines = overlays(row["pictures"], stage_words)
        maps = grids.draw(lines, folder, name, ok, words)
    return [*maps, *_numbers(ok, folder, name)]


def overlays(
    pictures: Sequence[dict[str, Any]], words: Callable[[str], str] = str
) -> list[grids.Line]:
    """Each clip's frames, and below them each network's map over them.

    Args:
        words: from a network's name in the pictures to what it is called.
    """

    def name(text: str) -> str:
        return "\n".join(fill(line, _NAME_CHARACTERS) for line in text.splitlines())

    lines = []
    for picture in pictures:
        frames = unpacked(picture["input"], picture["size"])
        titles = [f"frame {number}" for number in picture["frames"]]
        lines.append(grids.Line(name(f"input: {picture['label']}"), frames, titles=titles))
        for network, seen in picture["maps"].items():
            (best, probability), *_ = seen["top"]
            beside = name(f"{words(network)}\n“{best}” {100 * probability:.0f}%")
            lines.append(grids.Line(beside, frames, over=unpacked(seen["map"], seen["size"])))
    return lines


def _numbers(ok: Sequence[Row], folder: Path, name: str) -> list[Path]:
    stages = stages_of(ok)
    layers = layers_of(ok)
    columns = {"accuracy": "Clip accuracy, %", "on_motion": "Map on motion, %"}
    with parts.page(1, 2, height=style.HEIGHT * 0.8) as (figure, panels):
        for axes, (column, label) in zip(panels, columns.items(), strict=True):
            frame = seeds.tidy(
                (place, layer, [100 * r[column] for r in after(ok, stage) if r["layer"] == layer])
                for place, stage in enumerate(stages)
                for layer in layers
            )
            seeds.points(axes, frame, joined=True)
            axes.set_xticks(range(len(stages)), [stage_words(stage) for stage in stages])
            axes.set_ylabel(label)
        panels[0].set_ylim(bottom=max(panels[0].get_ylim()[0], 0.0))
        panels[1].axhline(10, color=parts.GRAY, linewidth=0.8, linestyle="--")
        parts.legend(figure, [row["layer"] for row in ok])
        return parts.save(
            figure,
            folder,
            f"{name}_on_motion",
            ok,
            "map on motion: its part in the tenth of its cells in which the clip changes most; "
            "dashed: as much as anywhere; means and 95% intervals, dots: seeds",
        )
