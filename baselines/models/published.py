"""Checkpoints of the authors of TSN, TSM and TIN, by our names."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from stdcf.errors import UserError

# How the repositories of TSM (which holds TSN too) and TIN call what is here by another name.
_RENAMED = (
    (r"^module\.", ""),
    (r"^base_model\.", "backbone.net."),
    (r"^new_fc\.", "fc."),
    (r"\.conv1\.net\.", ".conv1.conv."),
    (r"\.conv1\.net2\.", ".conv1.conv."),
    (r"\.conv1\.net1\.biasnet\.net\.conv\.", ".conv1.mixer.offset_net.conv."),
    (r"\.conv1\.net1\.biasnet\.net\.fc\.", ".conv1.mixer.offset_net.fc1."),
    (r"\.conv1\.net1\.biasnet\.net\.lastlayer\.", ".conv1.mixer.offset_net.fc2."),
    (r"\.conv1\.net1\.weightnet\.net\.lastlayer\.", ".conv1.mixer.weight_net.conv."),
)


def load_published(model: nn.Module, source: str | Path | Mapping[str, Tensor]) -> None:
    """Loads a published checkpoint of TSN or TSM (mit-han-lab) or TIN (deepcs233) on ResNet-50.

    Args:
        model: a TSN, TSM or TIN with as many classes, and as many frames where it counts them.
        source: the file as published (a dict with "state_dict"), or its state dict.

    Raises:
        UserError: if it cannot be read or is of another network.
    """
    state = source if isinstance(source, Mapping) else _read(Path(source))
    ours = {_renamed(name): value for name, value in state.items()}
    expected = model.state_dict()
    wrong = [
        name
        for name in expected | ours
        # Checkpoints by old versions of torch do not count batches.
        if not name.endswith("num_batches_tracked")
        and getattr(ours.get(name), "shape", None) != getattr(expected.get(name), "shape", None)
    ]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(
            f"the checkpoint is of another network: {wrong[0]}{more} missing, unknown or of "
            "another shape; build the model that it is of, with its num_classes and num_frames"
        )
    model.load_state_dict(expected | ours)


def _renamed(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = re.sub(pattern, ours, name)
    return name


def _read(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise UserError(f"no checkpoint {file}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        return content.get("state_dict", content)
    except Exception as error:
        raise UserError(
            f"{file} cannot be read as a checkpoint ({type(error).__name__}); give a file that "
            'torch.save wrote, with a "state_dict" or a state dict itself'
        ) from error
