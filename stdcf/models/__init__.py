"""The model factory and the networks that take any convolution layer."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from stdcf.errors import UserError
from stdcf.models.kth_cnn import KTHNet

_MODELS: dict[str, Callable[..., nn.Module]] = {"kth_cnn": KTHNet}


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    return sorted(_MODELS)


def create_model(
    name: str,
    conv: Callable[..., nn.Module] = nn.Conv3d,
    num_classes: int = 6,
    in_channels: int = 1,
    **model_options: Any,
) -> nn.Module:
    """A network by name, with any 3D convolution layer.

    Args:
        conv: anything with nn.Conv3d's constructor; further options through `functools.partial`.

    Returns:
        A module that maps a clip [B, C, T, H, W] to scores [B, num_classes].

    Raises:
        UserError: for an unknown model or an option that it does not take.
    """
    if name not in _MODELS:
        raise UserError(f"unknown model {name!r}; the models are {', '.join(list_models())}")
    parameters = inspect.signature(_MODELS[name]).parameters.keys()
    options = sorted(parameters - {"conv", "num_classes", "in_channels"})
    unknown = sorted(model_options.keys() - options)
    if unknown:
        raise UserError(
            f"{name} takes no option {', '.join(unknown)}; its options are {', '.join(options)}"
        )
    return _MODELS[name](conv, num_classes=num_classes, in_channels=in_channels, **model_options)
