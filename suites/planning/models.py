"""What a plan is made for: a model by name, with the inputs and the loss that it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from stdcf.errors import UserError
from suites.engine.catalog import build_any
from suites.engine.imported_model import find

_TRANSFORMERS = "transformers:"


@dataclass(frozen=True)
class Planned:
    """A model to plan for.

    Attributes:
        build: makes it.
        options: inputs and loss of `predict_peak`, where it takes another thing than one clip.
    """

    build: Callable[[], nn.Module]
    options: Mapping[str, Any]

    @property
    def runs_here(self) -> bool:
        """Whether `suites.run` can train it: a model of one clip and labels."""
        return not self.options


def planned(
    name: str,
    clip: tuple[int, int, int],
    *,
    classes: int,
    channels: int,
    layer: str,
    layer_options: Mapping[str, Any],
    model_options: Mapping[str, Any],
    inputs: str = "",
    loss: str = "",
) -> Planned:
    """The model by its name, the catalog's, an import path's or transformers'.

    Args:
        clip: [T, H, W].
        inputs, loss: import paths of functions as `predict_peak` takes them; "" is one clip, and
            cross entropy.

    Raises:
        UserError: for a name that there is not, or transformers where it is not installed.
    """
    options = {key: find(path) for key, path in (("inputs", inputs), ("loss", loss)) if path}
    if name.startswith(_TRANSFORMERS):
        if layer != "regular" or layer_options:
            raise UserError(
                f"{name} takes no --layer and no --layer-option: its layers are its own"
            )
        known = {"num_labels": classes, "num_channels": channels}
        known |= {"num_frames": clip[0], "image_size": clip[1]}
        if clip[1] != clip[2]:
            raise UserError(f"{name} takes square clips; {clip[1]}×{clip[2]} is not square")
        build = _of_transformers(name, known, model_options)
        return Planned(build, {"inputs": _video_inputs, "loss": _own_loss} | options)

    def build_by_name() -> nn.Module:
        return build_any(
            name,
            num_classes=classes,
            in_channels=channels,
            layer=layer,
            layer_options=layer_options,
            model_options=model_options,
        )

    return Planned(build_by_name, options)


def _of_transformers(
    name: str, known: Mapping[str, int], model_options: Mapping[str, Any]
) -> Callable[[], nn.Module]:
    """A video classifier with random weights, configured for the clip."""
    try:
        import transformers
    except ImportError as error:
        raise UserError(f"{name} needs transformers: pip install transformers") from error
    made: Any = getattr(transformers, name.removeprefix(_TRANSFORMERS), None)
    config_class = getattr(made, "config_class", None)
    if config_class is None:
        raise UserError(f"transformers has no model {name.removeprefix(_TRANSFORMERS)!r}")
    default = config_class()
    if not hasattr(default, "num_frames"):
        raise UserError(
            f"the configuration of {name} has no num_frames, so its clips are not known: give a "
            "function of your own as --model FILE.py:build, with --inputs FILE.py:inputs"
        )
    config = {key: value for key, value in known.items() if hasattr(default, key)}
    for key in model_options:
        if not hasattr(default, key):
            raise UserError(f"--model-option {key}: the configuration of {name} has no such entry")
    return lambda: made(config_class(**config, **model_options))


def _video_inputs(
    size: int, clip_shape: tuple[int, ...]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """pixel_values [B, T, C, H, W] and labels [B], as transformers' video classifiers take them."""
    import torch

    _, channels, frames, height, width = clip_shape
    pixels = torch.rand(size, frames, channels, height, width)
    return (), {"pixel_values": pixels, "labels": torch.zeros(size, dtype=torch.int64)}


def _own_loss(output: Any, batch: Any) -> Tensor:
    loss: Tensor = output.loss
    return loss
