"""Puts a model into the state in which a stage trains or tests it."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from stdcf.layers import set_dilation
from stdcf.layers.parts import layers_with_parts
from stdcf.stages.norm_parts import normalise_in_parts
from stdcf.stages.stage import Stage


def apply_stage(model: nn.Module, stage: Stage) -> None:
    """Dilates the model and freezes what the stage does not train; everything else learns again.

    BatchNorm normalises by the stage's `norm_parts` from then on.
    """
    set_dilation(model, *stage.dilation)
    normalise_in_parts(model, stage.norm_parts)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for _, parts in layers_with_parts(model):
        for part, parameters in parts.items():
            for parameter in parameters:
                parameter.requires_grad_(part in stage.trains)
    for norm in _frozen_norms(model, stage):
        norm.requires_grad_(False)


def set_training(model: nn.Module, stage: Stage) -> None:
    """Training mode, in which the BatchNorm layers that the stage freezes stay in evaluation."""
    model.train()
    for norm in _frozen_norms(model, stage):
        norm.eval()


def _frozen_norms(model: nn.Module, stage: Stage) -> list[nn.Module]:
    if stage.frozen_norm == "none":
        return []
    norms: list[nn.Module] = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    return norms[1 if stage.frozen_norm == "but_first" else 0 :]


def to_channels_last(model: nn.Module) -> nn.Module:
    """Converts each 5-D parameter to channels_last_3d, in place.

    ``model.to(memory_format=...)`` would fail on the 4-D parameters of any 2D layer.
    """
    for parameter in model.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return model
