"""The optimiser's state in the host's memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from stdcf.memory.savers.saver import Saver
from stdcf.memory.savers.updates import ON_HOST, Alone, grouped


class StateOnHost(Saver):
    """Keeps the optimiser's state on the host and brings each parameter's to the device for its
    update.

    The bits are those of the optimiser's step. All of the state crosses the bus twice a step. It
    stays so for the rest of the optimiser's life; its state_dict holds tensors of the CPU.
    """

    name = "state_on_host"
    costs = "the optimiser's state to the device and back"
    needs_optimizer = changes_state = True

    @contextmanager
    def step(self, model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
        if optimizer not in ON_HOST:
            alone = Alone(optimizer, self.name)
            ON_HOST.add(optimizer)
            gradients: list[tuple[nn.Parameter, Tensor]] = []

            def before(*_: Any) -> None:
                for group, parameter in grouped(optimizer):
                    if parameter.grad is not None:
                        alone.step(parameter, group)
                        gradients.append((parameter, parameter.grad))
                        # The optimiser's own step shall find nothing to do.
                        parameter.grad = None

            def after(*_: Any) -> None:
                for parameter, gradient in gradients:
                    parameter.grad = gradient
                gradients.clear()

            optimizer.register_step_pre_hook(before)
            optimizer.register_step_post_hook(after)
        yield
