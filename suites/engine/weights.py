"""Where a run's first weights come from: ImageNet's, or a network trained on Kinetics-400."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stdcf.errors import UserError
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder, run_folders

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGENET = "imagenet"
KINETICS = "kinetics400"
# TSM's network trained on Kinetics, from which TIN's may start: all but what TIN adds.
TSM = "kinetics400-tsm_r50"
_ADDED = ".mixer."
# With it ends the mode of a run by its authors' recipe; without it the recipe is that of all.
OWN = "_own"
PRETRAINING = "kinetics_table3"
# What ImageNet and Kinetics are made of: RGB.
CHANNELS = 3
# Beside the suites in a results folder: files of one's own.
FOLDER = "weights"


def bind(specs: Sequence[RunSpec], results: Path) -> list[RunSpec]:
    """Each spec that starts from weights with the SHA-256 of the file that is there for it.

    One that has a file's already keeps it.

    Where there is none it stays as it is: ImageNet's weights are fetched by the run, and a run
    without Kinetics' ends with an error that says where they are looked for.
    """
    bound = []
    for spec in specs:
        is_open = spec.starts_from is not None and ":" not in spec.starts_from
        file = next(_candidates(spec, results), None) if is_open else None
        if file is not None:
            spec = spec.changed(starts_from=f"{spec.starts_from}:{_sha256(file)}")
        bound.append(spec)
    return bound


def waits(spec: RunSpec, results: Path) -> bool:
    """Whether another run of its own suite is to give its first weights, and has not yet."""
    return spec.starts_from == TSM and next(_candidates(spec, results), None) is None


def check_reachable(specs: Sequence[RunSpec], results: Path) -> None:
    """Fetches ImageNet's weights if a run starts from them and there is no file of one's own.

    Raises:
        UserError: if they cannot be had, before any run begins.
    """
    spec = next((spec for spec in specs if spec.starts_from == IMAGENET), None)
    if spec is not None:
        from stdcf.models.inflate import imagenet_weights

        try:
            imagenet_weights(True, CHANNELS)
        except UserError as error:
            raise UserError(f"{error}; here: {_remedy(spec, results)}") from error


def start(model: "nn.Module", spec: RunSpec, results: Path, num_classes: int) -> str | None:
    """Loads the weights that the spec names; the classifier stays as it was made.

    Returns:
        The file, relative to the results folder, or "timm"; None if the weights stay as drawn.

    Raises:
        UserError: if they are not there or are of another network.
    """
    if spec.starts_from is None:
        return None
    from stdcf.training.transfer import head_names, load_with_new_head, read_weights
    from suites.engine.catalog import build_model

    origin, _, digest = spec.starts_from.partition(":")
    file = next((f for f in _candidates(spec, results) if _sha256(f) == digest), None)
    if file is None and (digest or origin != IMAGENET):
        raise UserError(
            f"no {origin} weights{f' with SHA-256 {digest}' if digest else ''} for "
            f"{_network(spec)}: " + _remedy(spec, results)
        )
    head = head_names(lambda classes: build_model(spec, classes, CHANNELS), num_classes)
    if origin == TSM:
        head = {name for name in model.state_dict() if _ADDED in name}
    weights = read_weights(file) if origin != IMAGENET and file else None
    if weights is None:
        weights = _from_imagenet(spec, results, num_classes, file)
    load_with_new_head(model, weights, head)
    return "timm" if file is None else file.relative_to(results).as_posix()


def _from_imagenet(
    spec: RunSpec, results: Path, num_classes: int, file: Path | None
) -> "dict[str, Tensor]":
    import torch

    from suites.engine.catalog import build_model

    options = {**spec.model_options, "pretrained": True if file is None else str(file)}
    pretrained = spec.changed(model_options=options)
    try:
        with torch.random.fork_rng(devices=()):
            return build_model(pretrained, num_classes, CHANNELS).state_dict()
    except UserError as error:
        raise UserError(f"{error}; here: {_remedy(spec, results)}") from error


def _remedy(spec: RunSpec, results: Path) -> str:
    own = f"put a state dict at {_own(spec, results)}"
    if (spec.starts_from or "").startswith(KINETICS):
        return f"run {PRETRAINING} with the same --profile and --results, or {own}"
    return own


def describe(starts_from: str | None) -> str:
    """For a table's column."""
    if starts_from is None:
        return "none"
    names = {IMAGENET: "ImageNet", KINETICS: "Kinetics", TSM: "Kinetics (TSM)"}
    return names[starts_from.partition(":")[0]]


def _own(spec: RunSpec, results: Path) -> Path:
    """Where a file of one's own is looked for."""
    is_imagenet = (spec.starts_from or "").startswith(IMAGENET)
    return results / FOLDER / f"{'resnet50-imagenet' if is_imagenet else _network(spec)}.pt"


def _candidates(spec: RunSpec, results: Path) -> Iterator[Path]:
    """A file of one's own, then the last stages of finished runs of the same network."""
    own = _own(spec, results)
    if own.is_file():
        yield own
    if (spec.starts_from or "").startswith(IMAGENET):
        return
    # By the same recipe; those of the same kind of learning and of the same seed come first.
    folders = [f for f in run_folders(results, PRETRAINING) if _is_of(f, spec)]
    folders.sort(key=lambda f: (f.spec().mode != spec.mode, f.spec().seed != spec.seed))
    for folder in folders:
        file = folder.path / f"stage-{folder.spec().stages[-1].name}.pt"
        if file.is_file():
            yield file


def _is_of(folder: RunFolder, spec: RunSpec) -> bool:
    other, result = folder.spec(), folder.result()
    return (
        result is not None
        and result["status"] == "ok"
        and (other.profile, other.layer, other.layer_options)
        == (spec.profile, spec.layer, spec.layer_options)
        and other.model == _model(spec)
        and other.mode.endswith(OWN) == spec.mode.endswith(OWN)
    )


def _model(spec: RunSpec) -> str:
    """Whose weights they are."""
    return TSM.partition("-")[2] if (spec.starts_from or "").startswith(TSM) else spec.model


def _network(spec: RunSpec) -> str:
    return "-".join(word for word in (_model(spec), spec.layer) if word)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
