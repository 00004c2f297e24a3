"""Networks out of the folders of runs, by their checkpoints, and a video as they see it."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stdcf.errors import UserError
from stdcf.frozen import Frozen
from stdcf.stages.stage import Dilation
from stdcf.whole_file import whole_file
from suites.engine.spec import parse_spec
from suites.engine.weights import FOLDER

if TYPE_CHECKING:
    from torch import Tensor, nn

    from stdcf.data.clips.transforms import Pixels

_PREFIX = "stage-"


class Network(Frozen):
    """A checkpoint's network: all that is needed beside its weights.

    Attributes:
        stage: after which its weights were kept.
        sha256: of the checkpoint.
        dilation: (temporal, spatial), with which it is tested.
        dataset, dataset_options: that it was trained on.
        classes: their names; None where the run did not keep them.
    """

    stage: str
    sha256: str
    model: str
    model_options: dict[str, Any]
    layer: str
    layer_options: dict[str, Any]
    dilation: Dilation
    dataset: str
    dataset_options: dict[str, Any]
    classes: tuple[str, ...] | None

    @property
    def clips(self) -> tuple[str, dict[str, Any]]:
        """What its clips are like."""
        return self.dataset, self.dataset_options


def network_of(checkpoint: Path) -> Network:
    """The network whose weights a run kept in stage-NAME.pt.

    Raises:
        UserError: where there is no such file, or nothing beside it says whose weights these are.
    """
    if not checkpoint.is_file():
        raise UserError(f"no checkpoint {checkpoint}")
    stage = checkpoint.stem.removeprefix(_PREFIX)
    spec_file = checkpoint.with_name("spec.json")
    if not spec_file.is_file() or not checkpoint.name.startswith(_PREFIX):
        raise UserError(
            f"{checkpoint} is not in the folder of a run: give the {_PREFIX}NAME.pt that "
            "suites.run wrote, with the spec.json beside it"
        )
    spec = parse_spec(spec_file.read_text(encoding="utf-8"))
    known = {one.name: one for one in spec.stages}
    if stage not in known:
        raise UserError(f"{spec_file} has no stage {stage!r}; there are {', '.join(known)}")
    names = checkpoint.with_name("classes.txt")
    return Network(
        stage=stage,
        sha256=sha256(checkpoint),
        dilation=known[stage].test_dilation,
        classes=tuple(names.read_text(encoding="utf-8").splitlines()) if names.is_file() else None,
        **{
            field: getattr(spec, field)
            for field in (
                *("model", "model_options", "layer", "layer_options"),
                *("dataset", "dataset_options"),
            )
        },
    )


def sha256(file: Path) -> str:
    """Of a file's bytes, in hex."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def keep(checkpoint: Path, network: Network, results: Path) -> None:
    """Copies a checkpoint to where runs of this results folder look for it."""
    kept = _kept(network, results)
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with checkpoint.open("rb") as original, whole_file(kept) as copy:
            shutil.copyfileobj(original, copy)


def _kept(network: Network, results: Path) -> Path:
    return results / FOLDER / f"{network.sha256[:16]}.pt"


def load(network: Network, results: Path) -> tuple["nn.Module", tuple[str, ...]]:
    """As `build` from what `keep` copied.

    Raises:
        UserError: if its weights are not there, are damaged or are of another network.
    """
    kept = _kept(network, results)
    if not kept.is_file():
        raise UserError(f"no weights {kept}; start the suite again with --checkpoint")
    return build(network, kept)


def build(network: Network, checkpoint: Path) -> tuple["nn.Module", tuple[str, ...]]:
    """The network, for testing, and the names of its classes, by number where they have none.

    Raises:
        UserError: if the weights are damaged or are of another network.
    """
    from stdcf.layers import set_dilation
    from stdcf.training.transfer import read_weights
    from suites.engine.catalog import build_any

    weights = read_weights(checkpoint)
    # The classifier is the last matrix.
    count = next((len(w) for w in reversed(weights.values()) if w.dim() == 2), 0)
    options = _options(network)
    channels = 3 if _is_streamed(options) else options["channels"]
    model = build_any(
        network.model,
        num_classes=count,
        in_channels=channels,
        layer=network.layer or None,
        layer_options=network.layer_options,
        model_options=network.model_options,
    )
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise UserError(f"{checkpoint} is not of its run's {network.model}: {what}") from error
    set_dilation(model, *network.dilation)
    classes = network.classes
    if classes is None or len(classes) != count:
        classes = tuple(f"class {number}" for number in range(count))
    return model.eval(), classes


def clip_of(video: Path, network: Network) -> tuple["Tensor", "Pixels"]:
    """The middle of a video as the network's test clips are: uint8 [C, T, H, W].

    A video that is shorter than a clip goes on with its last frame.

    Raises:
        UserError: if it cannot be decoded.
    """
    import numpy as np
    import torch

    from stdcf.data.clips.crops import Crops
    from stdcf.data.clips.sampling import Sampling
    from stdcf.data.clips.streamed import VideoFiles, VideoViews
    from stdcf.data.clips.transforms import EQUAL, IMAGENET
    from stdcf.data.video.decode import decode_video

    options = _options(network)
    if _is_streamed(options):
        crops = {name: options[name] for name in Crops.model_fields} | {"test_crops": 1}
        views = VideoViews(
            VideoFiles(video.parent, (video.name,), np.zeros(1, np.int64)),
            ("",),
            Sampling(
                method=options["sampling"],
                frames=options["frames"],
                interval=options["interval"],
                fps=options["fps"],
            ),
            Crops.model_validate(crops),
            1,
        )
        clip_BCTHW, _, _, broken = views.__getitems__([0])
        if broken:
            raise UserError(f"Cannot decode {video}: {broken[0][1]}.")
        return clip_BCTHW[0], IMAGENET
    height, width = options["size"]
    frames_FCHW = torch.from_numpy(decode_video(video, (height, width), options["channels"]))
    count = options["clip_frames"]
    start = max(len(frames_FCHW) - count, 0) // 2
    places = torch.arange(start, start + count).clamp(max=len(frames_FCHW) - 1)
    return frames_FCHW[places].transpose(0, 1).contiguous(), EQUAL


def _is_streamed(options: Mapping[str, Any]) -> bool:
    """Whether clips are decoded from the middle of a video, scaled and cropped."""
    return "crop" in options and options.get("size") is None


def _options(network: Network) -> Mapping[str, Any]:
    """The data set's options, its defaults among them."""
    import inspect

    from suites.engine.catalog import DATASETS

    parameters = inspect.signature(DATASETS[network.dataset]).parameters.values()
    return {p.name: p.default for p in parameters} | dict(network.dataset_options)


def same_clips(networks: Sequence[Network]) -> None:
    """UserError unless all networks take clips of the same kind."""
    first = networks[0]
    for other in networks[1:]:
        if other.clips != first.clips:
            raise UserError(
                f"the checkpoints must be of networks for the same clips, not of {first.dataset} "
                f"{first.dataset_options} and {other.dataset} {other.dataset_options}"
            )
