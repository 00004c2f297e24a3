"""The optimisers that a stage may name."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from stdcf.stages.rates import param_groups
from stdcf.stages.stage import Stage

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}
# Torch's own.
DEFAULT_DECAY = {"adam": 0.0, "adamw": 0.01, "sgd": 0.0}


def make_optimizer(model: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """The stage's optimiser over all parameters, with a group for each rate and decay.

    A frozen parameter is in it too: without a gradient it gets no state and does not move.
    """
    decay = DEFAULT_DECAY[stage.optimizer] if stage.weight_decay is None else stage.weight_decay
    groups = param_groups(
        model,
        stage.lr,
        atom_lr=stage.atom_lr,
        bias_lr=stage.bias_lr,
        head_lr=stage.head_lr,
        weight_decay=decay,
        no_decay=stage.no_decay,
    )
    return OPTIMIZERS[stage.optimizer](groups, **({"nesterov": True} if stage.nesterov else {}))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets every group to its share of the rate."""
    for group in optimizer.param_groups:
        # Checkpoints from before there were shares have none.
        group["lr"] = rate * group.get("lr_scale", 1.0)


def take_step(model: nn.Module, optimizer: torch.optim.Optimizer, stage: Stage) -> None:
    """The stage's step on the parameters' gradients, which are None then."""
    if stage.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
