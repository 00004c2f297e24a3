"""Weights of one data set as the start on another: all but the classifier."""

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stdcf.errors import UserError
from stdcf.training.checkpoint import CheckpointError, load_checkpoint


def head_names(model_fn: Callable[[int], nn.Module], num_classes: int) -> set[str]:
    """Names in the state dict of what depends on the number of classes.

    Args:
        model_fn: builds the model for a number of classes.
    """
    shapes = []
    for classes in (num_classes, num_classes + 1):
        # For real: some constructors read a tensor's values.
        with torch.random.fork_rng(devices=()):
            shapes.append({name: t.shape for name, t in model_fn(classes).state_dict().items()})
    first, second = shapes
    return {name for name in first if first[name] != second[name]}


def load_with_new_head(model: nn.Module, weights: Mapping[str, Tensor], head: set[str]) -> None:
    """Takes all of the weights but the head's; the model's own head stays as it was made.

    Raises:
        UserError: if anything else is missing, unknown or of another shape.
    """
    own = model.state_dict()
    body = {name: tensor for name, tensor in weights.items() if name not in head}
    wrong = [
        *(f"{name} is missing" for name in own if name not in body and name not in head),
        *(f"{name} is unknown" for name in body if name not in own),
        *(
            f"{name} is {list(tensor.shape)}, not {list(own[name].shape)}"
            for name, tensor in body.items()
            if name in own and tensor.shape != own[name].shape
        ),
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(f"these weights are of another network: {wrong[0]}{more}")
    model.load_state_dict(body, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict written by `save_checkpoint` or by torch.save; no code in it is ever run.

    Raises:
        UserError: if the file holds anything else.
    """
    try:
        content: Any = load_checkpoint(path)
    except CheckpointError:
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path} holds no weights: torch.save did not write it.") from None
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise UserError(f"{path} holds no weights, or more than weights.") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise UserError(f"{path} holds no state dict: expected names with tensors.")
    return content
