"""The model factory and the networks that take any convolution layer."""

from collections.abc import Callable
from typing import Any

from torch import nn

from stdcf.errors import UserError
from stdcf.models.autoencoder3d import Autoencoder3d
from stdcf.models.construct import construct
from stdcf.models.kth_cnn import KTHNet
from stdcf.models.resnet3d import ResNet3d50

_MODELS: dict[str, Callable[..., nn.Module]] = {
    "kth_cnn": KTHNet,
    "resnet3d_50": ResNet3d50,
    "autoencoder3d": Autoencoder3d,
}


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    return sorted(_MODELS)


def create_model(
    name: str,
    conv: Callable[..., nn.Module] = nn.Conv3d,
    num_classes: int | None = None,
    in_channels: int | None = None,
    **model_options: Any,
) -> nn.Module:
    """A network by name, with any 3D convolution layer.

    Args:
        conv: anything with nn.Conv3d's constructor; further options through `functools.partial`.
        num_classes, in_channels: None is the model's own default: 6 and 1 for kth_cnn, 400 and 3
            for resnet3d_50; autoencoder3d has no classes and 1 channel.

    Returns:
        A module that maps a clip [B, C, T, H, W] to scores [B, num_classes], or for autoencoder3d
        to a clip.

    Raises:
        UserError: for an unknown model or an option that it does not take.
    """
    if name not in _MODELS:
        raise UserError(f"unknown model {name!r}; the models are {', '.join(list_models())}")
    return construct(
        name,
        _MODELS[name],
        conv=conv,
        num_classes=num_classes,
        in_channels=in_channels,
        **model_options,
    )
