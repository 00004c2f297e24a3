"""Each parameter is updated as soon as its gradient is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from stdcf.errors import UserError
from stdcf.memory.savers.company import refuse_ranks
from stdcf.memory.savers.saver import Saver
from stdcf.memory.savers.updates import Alone, grouped


class StepInBackward(Saver):
    """Updates a parameter in the backward pass and frees its gradient, so that there are never all.

    The optimiser's own step finds no gradients afterwards and does nothing. Rates, groups and state
    are the optimiser's; what it does is what it would have done, parameter by parameter. Nothing
    may look at the gradients of several parameters together, and there is no way back: clipping
    by their norm, a GradScaler, accumulation and DDP are refused. Clipping in a loop of one's own,
    between `learn` and the optimiser's step, cannot be seen: it would find no gradients.

    Raises:
        UserError: within, for an optimiser that cannot, DDP, or gradients that are there already.
    """

    name = "step_in_backward"
    needs_optimizer = updates = changes_state = True

    @contextmanager
    def step(self, model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
        refuse_ranks([self], 2 if isinstance(model, DistributedDataParallel) else 1)
        alone = Alone(optimizer, self.name)
        handles: list[Any] = []
        for group, parameter in grouped(optimizer):
            if parameter.grad is not None:
                raise UserError(
                    "step_in_backward finds gradients before the backward pass and cannot add to "
                    "them: call optimizer.zero_grad() after each step, and learn once a step"
                )
            if parameter.requires_grad:
                update = partial(_update, alone, group)
                handles.append(parameter.register_post_accumulate_grad_hook(update))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _update(alone: Alone, group: dict[str, Any], parameter: Tensor) -> None:
    assert isinstance(parameter, nn.Parameter)
    alone.step(parameter, group)
    parameter.grad = None
