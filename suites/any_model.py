"""Any model by name or import path, with any layer."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from stdcf.errors import UserError
from suites.engine.catalog import MODELS, build, layer_by_name
from suites.engine.imported_model import build_imported, is_import_path


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
