"""The networks of Tables 3 and 4 that STDCF is compared with, by name."""

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from stdcf.errors import UserError
from stdcf.models.construct import construct

# Imported when asked for: timm and torchvision take seconds.
_MODELS = {
    "r2plus1d_34": "baselines.models.r2plus1d_34:R2Plus1d34",
    "slowfast_r50_8x8": "baselines.models.slowfast_r50_8x8:SlowFast",
    "tsn_r50": "baselines.models.tsn_r50:TSN",
    "trn_r50": "baselines.models.trn_r50:TRN",
    "tsm_r50": "baselines.models.tsm_r50:TSM",
    "tin_r50": "baselines.models.tin_r50:TIN",
    "i3d_r50": "baselines.models.i3d_r50:I3D",
    "i3d_gcn_r50": "baselines.models.i3d_gcn_r50:I3DGCN",
}


def list_baselines() -> list[str]:
    """Names that `create_baseline` takes."""
    return sorted(_MODELS)


def create_baseline(
    name: str,
    conv: Callable[..., nn.Module] | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    **model_options: Any,
) -> nn.Module:
    """A network by name: a clip [B, C, T, H, W] -> scores [B, num_classes].

    Args:
        conv: what builds the convolutions over space and time, where the network has any; None is
            the published network.
        num_classes, in_channels: None is 400 and 3.

    Raises:
        UserError: for an unknown model, an option that it does not take, or a layer for a network
            without 3D convolutions.
    """
    if name not in _MODELS:
        raise UserError(f"unknown model {name!r}; the models are {', '.join(list_baselines())}")
    module, _, attribute = _MODELS[name].partition(":")
    return construct(
        name,
        getattr(importlib.import_module(module), attribute),
        conv=conv,
        num_classes=num_classes,
        in_channels=in_channels,
        **model_options,
    )
