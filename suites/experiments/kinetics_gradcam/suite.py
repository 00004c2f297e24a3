"""Figure 7: Grad-CAM of the networks after stage-t and stage-s, with the classes they predict.

Of any video by networks that were trained before, on Kinetics or anything else:

    python -m suites.run kinetics_gradcam --video FILE \\
        --checkpoint RUN/stage-t3.pt --checkpoint RUN/stage-s3.pt

Without --video it trains kth_cnn by Table 2's ITSL, on a data set that a laptop can hold, and looks
at its test clips (or takes the weights of a run that did).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from suites.engine.spec import NO_DATA, RunSpec
from suites.engine.suite import COMMON_FIGURES, Request, Suite, drawn_by
from suites.experiments.kinetics_gradcam import networks as video_networks
from suites.experiments.kinetics_gradcam.networks import Network
from suites.experiments.kinetics_gradcam.tables import tables
from suites.experiments.shared import kth, stage_maps
from suites.experiments.shared.kth import PROFILES, dataset_options

STAGES = ("t3", "s3")
# The last feature maps before the pool: of the last convolution's block, after its ReLU.
TARGETS = {
    "kth_cnn": "blocks.2.2",
    "resnet3d_50": "layer4",
    "i3d_r50": "layer4",
    "r2plus1d_34": "layer4",
}


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """One run of a video, or Table 2's ITSL looked at after its last stages."""
    options = request.options
    if "video" in options:
        return [_of_video(request, options)]
    for name in ("checkpoint", "target"):
        if name in options:
            raise UserError(f"{name} is for a video: give --video FILE too")
    if request.dataset == NO_DATA:
        raise UserError("which video? give --video FILE and --checkpoint, or a --dataset")
    return stage_maps.specs("kinetics_gradcam", "gradcam", STAGES, request, manifest)


def _of_video(request: Request, options: Mapping[str, Any]) -> RunSpec:
    video = Path(options["video"]).expanduser()
    files = [Path(file).expanduser().resolve() for file in options.get("checkpoint") or ()]
    if not video.is_file():
        raise UserError(f"no video {video}")
    if not files:
        raise UserError("--video needs --checkpoint: a stage-NAME.pt in a run's folder, or several")
    networks = [video_networks.network_of(file) for file in files]
    video_networks.same_clips(networks)
    first = networks[0]
    target = options.get("target") or TARGETS.get(first.model)
    if target is None:
        raise UserError(
            f"where in {first.model}? --option target=NAME names the module whose output is mapped"
        )
    # All at once and now, rather than in a row that says what is wrong with the call.
    for network, file in zip(networks, files, strict=True):
        model, _ = video_networks.build(network, file)
        modules = [name for name, _ in model.named_modules() if name]
        if target not in modules:
            raise UserError(
                f"{first.model} has no module {target!r}; "
                f"its last ones are {', '.join(modules[-5:])}"
            )
    video_networks.clip_of(video, first)
    return request.spec(
        "kinetics_gradcam",
        video_networks.sha256(video),
        task="video_maps",
        options={
            "video": video.name,
            "networks": [network.model_dump(mode="json") for network in networks],
            "target": target,
            # Until `bind` has copied them.
            "checkpoints": [str(file) for file in files],
        },
        model=first.model,
        layer=first.layer,
        mode="video",
        seed=0,
        overrides=(f"video={video.name}",),
    )


def bind(specs: Sequence[RunSpec], results: Path) -> list[RunSpec]:
    """The runs with their weights in the results folder, and no path of elsewhere."""
    bound = []
    for spec in specs:
        options = dict(spec.options)
        for file, network in zip(
            options.pop("checkpoints", ()), options.get("networks", ()), strict=False
        ):
            video_networks.keep(Path(file), Network.model_validate(network), results)
        bound.append(spec.changed(options=options))
    return bound


SUITE = Suite(
    name="kinetics_gradcam",
    title="Figure 7: Grad-CAM after stage-t and after stage-s",
    profiles=tuple(PROFILES),
    datasets=(*kth.DATASETS, NO_DATA),
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("kinetics_gradcam.figure7:draw"),
    # They are Table 2's.
    leaves_out=COMMON_FIGURES,
    bind=bind,
    takes_without_data=("amp", "device"),
    because="of a video it trains nothing",
    options=("video", "checkpoint", "target"),
)
