"""Figure 3: feature maps at twice the tempo beside those of training, and what they are worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suites.engine.suite import Row
from suites.experiments.kth_tempo.tables import similarities
from suites.experiments.shared.conditions import layers_of, under
from suites.reporting.figures import grids, parts, seeds
from suites.reporting.pictures import unpacked

_SHOWN = {
    "reference": "tempo 1\ndilation 2",
    "kept": "tempo 2\ndilation 2 (kept)",
    "swapped": "tempo 2\ndilation 1 (swapped)",
}
_NETWORK = "dilated_time"


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes figure3 (maps of STDCF, first seed) and tempo; nothing where no run is ok."""
    ok = [row for row in rows if row["status"] == "ok" and row["mode"] == _NETWORK]
    return [*_maps(ok, folder), *_numbers(ok, folder)] if ok else []


def _maps(ok: Sequence[Row], folder: Path) -> list[Path]:
    row = next((r for r in ok if r["layer"] == "stdcf" and r.get("pictures")), None)
    if row is None:
        return []
    height, width = row["clip_shape"][2:]
    clip = unpacked(row["pictures"]["input"], (height, width))
    layers = list(row["pictures"]["layers"].values())
    step = len(clip) // layers[0]["of_frames"]
    numbers = [frame * step for frame in layers[0]["frames"]]
    lines = [grids.Line("Input", clip[numbers], titles=[f"frame {number}" for number in numbers])]
    for place, layer in enumerate(layers):
        for condition, words in _SHOWN.items():
            similar = similarities(row).get(condition)
            note = f"\nsimilarity {similar[place]:.3f}" if similar else ""
            name = f"Layer {place + 1}, {words}{note}"
            images = unpacked(layer["maps"][condition], layer["size"])
            lines.append(grids.Line(name, images, "cividis", height / width))
    words = (
        f"STDCF, seed {row['seed']}: of each convolution's output the channel that varies most at "
        "tempo 1, one scale a layer; similarity: over all channels and test clips"
    )
    return grids.draw(lines, folder, "figure3", ok, words)


def _numbers(ok: Sequence[Row], folder: Path) -> list[Path]:
    layers = layers_of(ok)
    with parts.page(1, 2) as (figure, (left, right)):
        frame = seeds.tidy(
            (x, layer, [100 * row["accuracy"] for row in under(ok, layer, _NETWORK, condition)])
            for x, condition in enumerate(_SHOWN)
            for layer in layers
        )
        seeds.points(left, frame)
        words = [shown.replace(" (", "\n(") for shown in _SHOWN.values()]
        left.set_xticks(range(len(_SHOWN)), words, fontsize=8)
        left.set_ylabel("Clip accuracy, %")
        dashed: dict[str, Any] = {"linestyle": "--", "markerfacecolor": "white"}
        for condition, look in (("kept", dashed), ("swapped", {})):
            known = [(row["layer"], similarities(row).get(condition, ())) for row in ok]
            frame = seeds.tidy(
                (x, layer, [value]) for layer, own in known for x, value in enumerate(own, start=1)
            )
            seeds.points(right, frame, joined=True, dots=False, **look)
        right.set_xticks(range(1, 1 + max(len(s) for r in ok for s in similarities(r).values())))
        right.set_xlabel("Convolution")
        right.set_ylabel("Similarity to tempo 1")
        parts.legend(figure, [row["layer"] for row in ok])
        return parts.save(
            figure,
            folder,
            "tempo",
            ok,
            "trained at tempo 1, dilation 2; means and 95% intervals; dots: seeds; right, dashed: "
            "kept, solid: swapped",
            "similarity: cosine of standardised outputs at the same moments, 1: equal",
        )
