"""The optimiser's state in 8 bits a value."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim import Optimizer

from stdcf.memory.savers.rounded import library
from stdcf.memory.savers.saver import Saver
from stdcf.memory.savers.updates import EIGHT_BIT, step_alone


class State8bit(Saver):
    """Keeps the optimiser's state in 8 bits between steps (Dettmers et al. 2022), by torchao.

    Each parameter's state is made whole for its update, which is the optimiser's own in float32,
    and rounded again after it. States of fewer than 4096 values, or not of whole blocks of 256,
    stay as they are. It stays so for the rest of the optimiser's life.

    Raises:
        UserError: without torchao; within, for an optimiser that cannot step one parameter by
        itself; in its step, if that is given a closure.
    """

    name = "state8bit"
    gradients = "the same bits; the optimiser's state is rounded to 8 bits after each step"
    costs = "quantising the optimiser's state and back"
    needs_optimizer = changes_state = True

    def __init__(self) -> None:
        # Before a checkpoint with such states is read, and while tensors have values.
        library()

    @contextmanager
    def step(self, model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
        step_alone(optimizer, self.name)
        EIGHT_BIT.add(optimizer)
        yield
