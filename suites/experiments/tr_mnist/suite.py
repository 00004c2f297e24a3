"""Figure 2 and Appendix B: moving, turning digits, reconstructed by a three-layer 3D CNN (§2.1.1).

Appendix B is not public. Chosen here: clips of 16×64×64 (docs/tr_mnist.md), autoencoder3d with 4
channels whose middle layer sees the clip at half its size in time, height and width, mean squared
error, Adam. "Equal width": the same channels for all layers. "Equal parameters": rank-1 and STDCF
get as many channels as bring them nearest to the regular layer's parameters. Other networks:
--model-option widths=[16,16] or pool=[4,1,1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stdcf.stages.stage import full_size
from suites.engine.spec import RunSpec
from suites.engine.suite import TRAINS, Request, Suite, drawn_by
from suites.experiments.tr_mnist.tables import EQUAL_PARAMS, LINES, Line, tables

# Few, so that filters limit what is given back: the quick profile's first seed has regular filters
# ahead of rank-1's by 1.3 dB with 4 channels, and behind them by 0.5 dB with 16.
WIDTH = 4
POOL = 2


@dataclass(frozen=True)
class Profile:
    """What a profile sets: clips, epochs, seeds, batch."""

    size: tuple[int, int]
    clip_frames: int
    train_clips: int
    test_clips: int
    epochs: int
    seeds: int
    batch_size: int = 16


PROFILES = {
    "paper": Profile((64, 64), 16, train_clips=1000, test_clips=200, epochs=40, seeds=3),
    "quick": Profile((32, 32), 8, train_clips=300, test_clips=100, epochs=10, seeds=1),
}


def dataset_options(request: Request) -> dict[str, Any]:
    """Clips of the profile."""
    profile = PROFILES[request.profile]
    return {
        "size": list(profile.size),
        "clip_frames": profile.clip_frames,
        "train_clips": profile.train_clips,
        "test_clips": profile.test_clips,
    } | dict(request.data_options)


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Every line for the first seed, then for the next."""
    profile = PROFILES[request.profile]
    model: dict[str, Any] = {"widths": [WIDTH, WIDTH], "pool": POOL} | dict(request.model_options)
    stages = full_size(epochs=request.epochs or profile.epochs, lr=3e-3, schedule="cosine")
    layer_options = {line: options_of(line, request) for line in LINES}
    model_options = {
        line: model | {"widths": widened(line.layer, layer_options[line], model)}
        if line.mode == EQUAL_PARAMS
        else model
        for line in LINES
    }
    return [
        request.spec(
            "tr_mnist",
            manifest,
            task="reconstruct",
            dataset_options=dataset_options(request),
            model="autoencoder3d",
            layer=line.layer,
            model_options=model_options[line],
            layer_options=layer_options[line],
            mode=line.mode,
            stages=stages,
            seed=seed,
            batch_size=profile.batch_size,
        )
        for seed in request.each_seed(profile.seeds)
        for line in LINES
    ]


def options_of(line: Line, request: Request) -> dict[str, Any]:
    """Of a line's layer: its atoms, and what the user asks of all of its kind."""
    options: dict[str, Any] = {}
    if line.atoms:
        m, n = line.atoms
        options = {"num_spatial_atoms": m, "num_temporal_atoms": n, "plan": "composed"}
    return options | dict(request.layer_options.get(line.layer, {}))


def widened(
    layer: str, layer_options: Mapping[str, Any], model_options: Mapping[str, Any]
) -> list[int]:
    """The widths, all one number, nearest to the regular layer's parameters at `model_options`'."""
    # Here, so that tables and figures need no torch.
    from suites.engine.catalog import build

    def params(layer: str, options: Mapping[str, Any], widths: Sequence[int]) -> int:
        model = build(
            "autoencoder3d",
            num_classes=10,
            in_channels=1,
            layer=layer,
            layer_options=options,
            **{**model_options, "widths": list(widths)},
        )
        return sum(parameter.numel() for parameter in model.parameters())

    wanted = params("regular", {}, model_options["widths"])
    width = 1
    while params(layer, layer_options, (width + 1, width + 1)) <= wanted:
        width += 1
    off = {w: abs(params(layer, layer_options, (w, w)) - wanted) for w in (width, width + 1)}
    best = min(off, key=lambda w: off[w])
    return [best, best]


SUITE = Suite(
    name="tr_mnist",
    title="Figure 2: moving, turning digits, reconstructed by STDCF, rank-1 and regular layers",
    profiles=tuple(PROFILES),
    datasets=("tr_mnist",),
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("tr_mnist.figure2:draw"),
    takes=TRAINS,
)
