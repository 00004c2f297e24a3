"""A batch in parts."""

from stdcf.errors import UserError
from stdcf.memory.savers.saver import Saver


class Accumulate(Saver):
    """Gradient accumulation: the batch is learnt in micro-batches, and the optimiser steps once.

    The gradient is that of the mean loss over the batch. BatchNorm normalises by each micro-batch's
    own statistics and updates its running ones once a micro-batch, so in training mode the result
    is the mean of the micro-batches' gradients and not the whole batch's; without BatchNorm, or
    with it in evaluation mode, both are equal up to the order of summation.

    Args:
        micro_batches: how many; a batch of fewer clips is learnt clip by clip.
    """

    name = "accumulate"
    gradients = "the mean of the micro-batches' (BatchNorm sees the micro-batch)"

    def __init__(self, micro_batches: int) -> None:
        if micro_batches < 2:
            raise UserError(f"accumulate takes at least 2 micro-batches, not {micro_batches}")
        self.micro_batches = micro_batches

    def __str__(self) -> str:
        return f"{self.name}={self.micro_batches}"
