"""The optimiser's state in the host's memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.optim import Optimizer

from stdcf.memory.savers.saver import Saver
from stdcf.memory.savers.updates import ON_HOST, step_alone


class StateOnHost(Saver):
    """Keeps the optimiser's state on the host and brings each parameter's to the device for its
    update.

    The bits are those of the optimiser's step. All of the state crosses the bus twice a step. It
    stays so for the rest of the optimiser's life; its state_dict holds tensors of the CPU.

    Raises:
        UserError: within, for an optimiser that cannot; in its step, if that is given a closure.
    """

    name = "state_on_host"
    costs = "the optimiser's state to the device and back"
    needs_optimizer = changes_state = True

    @contextmanager
    def step(self, model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
        step_alone(optimizer, self.name)
        ON_HOST.add(optimizer)
        yield
