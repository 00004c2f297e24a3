"""Grad-CAM of one video by networks that were trained before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from stdcf.training.step import Numerics
from stdcf.visualize import share_on_motion
from suites.engine.task import Run
from suites.experiments.kinetics_gradcam.networks import Network, clip_of, load, sha256
from suites.experiments.shared.gradcam import gradcam
from suites.experiments.shared.stage_maps import stage_words
from suites.experiments.shared.stage_maps_task import drawn, picture_of
from suites.reporting.figures.style import layer_name


def measure(run: Run) -> dict[str, Any]:
    """The task "video_maps": "pictures" of the video with each network's map and top classes.

    The run's data_root is the video's file.
    """
    spec = run.spec
    run.settle()
    networks = [Network.model_validate(given) for given in spec.options["networks"]]
    video = Path(run.data_root or spec.options["video"])
    if not video.is_file() or sha256(video) != spec.manifest:
        raise UserError(f"{video} is not the video that this run was made for; give --video again")
    clip_CTHW, pixels = clip_of(video, networks[0])
    numerics = Numerics(run.where, spec.amp, channels_last=not run.on_gpu, pixels=pixels)
    picture = picture_of(clip_CTHW) | {"label": spec.options["video"]}
    on_motion = {}
    for name, network in zip(names_of(networks), networks, strict=True):
        model, classes = load(network, run.folder.path.parents[2])
        with numerics.autocast():
            seen = gradcam(
                numerics.place(model), spec.options["target"], numerics.prepare(clip_CTHW[None])
            )
        picture["maps"][name] = drawn(seen, picture, classes)
        on_motion[name] = float(share_on_motion(seen[0].cpu(), clip_CTHW[None]))
    best = {name: seen["top"][0] for name, seen in picture["maps"].items()}
    return {
        "status": "ok",
        "reason": None,
        "accuracy": None,
        "video": spec.options["video"],
        "trained_on": networks[0].dataset,
        "target": spec.options["target"],
        "clip_shape": list(clip_CTHW.shape),
        "pictures": [picture],
        "on_motion": on_motion,
        "summary": "; ".join(f"{name}: {what} {100 * p:.0f}%" for name, (what, p) in best.items()),
    }


def names_of(networks: Sequence[Network]) -> list[str]:
    """What tells the networks apart: stage, layer where they differ, a number where need be."""
    several = len({network.layer for network in networks}) > 1
    names: list[str] = []
    for network in networks:
        name = stage_words(network.stage)
        name = f"{layer_name(network.layer)}, {name}" if several else name
        count = sum(other.partition(" (")[0] == name for other in names)
        names.append(f"{name} ({count + 1})" if count else name)
    return names
