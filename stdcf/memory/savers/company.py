"""What savers do before training, and why those that update in backward cannot have company."""

from collections.abc import Iterable

from torch import nn

from stdcf.errors import UserError
from stdcf.memory.savers.saver import Saver


def no_accumulation(saver: Saver) -> str:
    """Of micro-batches."""
    return (
        f"{saver.name} updates a parameter with the first micro-batch's gradient, before the "
        f"others are there: leave {saver.name} or accumulate out"
    )


def no_scaler(saver: Saver) -> str:
    """Of a GradScaler."""
    return (
        f"{saver.name} updates a parameter before a GradScaler could look for infinities in all "
        f"gradients and skip the step: leave {saver.name} out, or take bfloat16, which needs none"
    )


def refuse_ranks(savers: Iterable[Saver], ranks: int) -> None:
    """DistributedDataParallel averages gradients after backward.

    Raises:
        UserError: if there are several ranks and a saver updates parameters before.
    """
    for saver in savers:
        if saver.updates and ranks > 1:
            raise UserError(
                f"{saver.name} updates a parameter before DistributedDataParallel has averaged its "
                f"gradient: leave {saver.name} out, or train in one process"
            )


def prepare(savers: Iterable[Saver], model: nn.Module, clip_norm: float | None) -> None:
    """Prepares a model for training under savers.

    Args:
        clip_norm: the norm of all gradients to which they are clipped; None does not.

    Raises:
        UserError: if a saver updates parameters before that norm is known, or refuses the model.
    """
    for saver in savers:
        saver.prepare(model)
        if saver.updates and clip_norm is not None:
            raise UserError(
                f"{saver.name} updates a parameter before the norm of all gradients is known: "
                f"leave {saver.name} or clip_norm out"
            )
