"""Every layer, model and data set by name: plain dicts, filled here."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from baselines.layers import Rank1Conv3d
from baselines.models import create_baseline, list_baselines
from stdcf.data.clips.splits import VideoData
from stdcf.data.frames.cache import Progress
from stdcf.data.sets import (
    diving48,
    epic,
    kinetics,
    kth,
    official_splits,
    something,
    synthetic_actions,
    tr_mnist,
    video_folder,
    video_list,
    weizmann,
)
from stdcf.errors import UserError
from stdcf.layers import STDCFConv3d
from stdcf.models import create_model, list_models
from suites.engine.imported_model import build_imported, is_import_path
from suites.engine.spec import RunSpec

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "regular": nn.Conv3d,
    "rank1": Rank1Conv3d,
    "stdcf": STDCFConv3d,
}

MODELS: dict[str, Callable[..., nn.Module]] = {
    **{name: partial(create_model, name) for name in list_models()},
    **{name: partial(create_baseline, name) for name in list_baselines()},
}

DATASETS: dict[str, Callable[..., VideoData]] = {
    "kth": kth.load,
    "weizmann": weizmann.load,
    **{name: partial(kinetics.load, name=name) for name in kinetics.NAMES},
    "something_v1": partial(something.load, 1),
    "something_v2": partial(something.load, 2),
    "jester": partial(something.load, "jester"),
    "diving48": diving48.load,
    "epic100": epic.load,
    **{name: partial(official_splits.load, name) for name in official_splits.FORMS},
    "video_folder": video_folder.load,
    "video_list": video_list.load,
    "synthetic_actions": synthetic_actions.load,
    "tr_mnist": tr_mnist.load,
}


def build(
    name: str,
    *,
    num_classes: int,
    in_channels: int | None = None,
    layer: str | None = None,
    layer_options: Mapping[str, Any] | None = None,
    **model_options: Any,
) -> nn.Module:
    """Any model by name, with any layer by name.

    Args:
        layer: the 3D convolution; None takes the model's own default.
        layer_options: options beyond nn.Conv3d's, such as ``num_spatial_atoms``.

    Raises:
        UserError: for an unknown name or option, listing the valid ones.
    """
    model = _entry(MODELS, "model", name)
    options = dict(model_options)
    if layer is not None:
        options["conv"] = layer_by_name(layer, layer_options or {})
    elif layer_options:
        raise UserError(f"layer_options {', '.join(layer_options)} without a layer to take them")
    if in_channels is not None:
        options["in_channels"] = in_channels
    try:
        return model(num_classes=num_classes, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise UserError(f"model {name}: {str(error).split('()', 1)[-1].strip()}") from error
        raise


def layer_by_name(name: str, options: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """A layer's constructor with its options bound.

    Raises:
        UserError: for an unknown layer or option.
    """
    layer = _entry(LAYERS, "layer", name)
    valid = [
        parameter.name
        for parameter in inspect.signature(layer).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    for option in options:
        if option not in valid:
            raise UserError(
                f"layer {name} has no option {option!r}; "
                + (f"its options are {', '.join(valid)}" if valid else "it has none")
            )
    return partial(layer, **options) if options else layer


# Arguments of loaders that say how to load, not what.
_NOT_DATA = frozenset({"workers", "cache_dir", "progress", "name"})


# Why they are not resampled.
_WITHOUT_RATE = {
    "kth": "all its videos have 25 frames a second, and 00sequences.txt counts frames",
    "weizmann": "all its videos have 25 frames a second",
    "tr_mnist": "its clips are drawn frame by frame",
    "synthetic_actions": "its clips are drawn frame by frame",
}


def load_dataset(
    name: str, root: str | None, *, progress: Progress | None = None, **options: Any
) -> VideoData:
    """A data set's clips by name.

    Raises:
        UserError: for an unknown name or option, or if the data is not there.
    """
    loader = _entry(DATASETS, "data set", name)
    valid = [
        parameter.name
        for parameter in inspect.signature(loader).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in _NOT_DATA
    ]
    for option in options:
        if option == "fps" and name in _WITHOUT_RATE:
            raise UserError(f"{name} takes no fps: {_WITHOUT_RATE[name]}.")
        if option not in valid:
            raise UserError(
                f"data set {name} has no option {option!r}; its options are {', '.join(valid)}"
            )
    return loader(root, progress=progress, **options)


def _entry(registry: Mapping[str, Any], what: str, name: str) -> Any:
    if name not in registry:
        raise UserError(f"unknown {what} {name!r}; there are {', '.join(sorted(registry))}")
    return registry[name]


def build_any(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    layer: str | None = None,
    layer_options: Mapping[str, Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A model of the catalog, or of anyone's own by its import path (`imported_model`).

    Args:
        layer: None and, for a model of one's own, "regular" leave the model's own layers.

    Raises:
        UserError: for an unknown name or option.
    """
    options = dict(model_options or {})
    if not is_import_path(name):
        if name not in MODELS:
            raise UserError(
                f"unknown model {name!r}; there are {', '.join(sorted(MODELS))}, torchvision's as "
                "torchvision:r3d_18, and your own as module:function or file.py:function"
            )
        return build(
            name,
            num_classes=num_classes,
            in_channels=in_channels,
            layer=layer,
            layer_options=layer_options,
            **options,
        )
    own = layer in (None, "regular") and not layer_options
    return build_imported(
        name,
        num_classes=num_classes,
        in_channels=in_channels,
        conv=None if own else layer_by_name(layer or "regular", layer_options or {}),
        **options,
    )


def build_model(spec: RunSpec, num_classes: int, in_channels: int) -> nn.Module:
    """The spec's model for clips with these classes and channels."""
    return build_any(
        spec.model,
        num_classes=num_classes,
        in_channels=in_channels,
        layer=spec.layer or None,
        layer_options=spec.layer_options,
        model_options=spec.model_options,
    )
