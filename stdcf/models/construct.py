"""Calling a model's constructor with options that came as text."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from stdcf.errors import UserError

_COMMON = frozenset({"conv", "num_classes", "in_channels"})


def construct(
    name: str,
    model: Callable[..., nn.Module],
    *,
    conv: Callable[..., nn.Module] | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    **model_options: Any,
) -> nn.Module:
    """A model by its constructor; None leaves the model's own default.

    `num_classes` is left out for a model that has no classes.

    Raises:
        UserError: for an option that the model does not take, listing those that it does.
    """
    taken = inspect.signature(model).parameters.keys()
    options = sorted(taken - _COMMON)
    unknown = sorted(model_options.keys() - options)
    if unknown:
        valid = f"its options are {', '.join(options)}" if options else "it has none"
        raise UserError(f"{name} takes no option {', '.join(unknown)}; {valid}")
    dropout = model_options.get("dropout", 0)
    if not 0 <= dropout <= 1:
        raise UserError(f"dropout must be a probability from 0 to 1, not {dropout!r}")
    if conv is not None and "conv" not in taken:
        raise UserError(f"{name} has no 3D convolution and takes no layer; leave the layer out")
    common = {"conv": conv, "num_classes": num_classes, "in_channels": in_channels}
    given = {key: v for key, v in common.items() if v is not None and key in taken}
    return model(**given, **model_options)
