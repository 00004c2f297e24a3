"""Each parameter is updated as soon as its gradient is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from stdcf.errors import UserError
from stdcf.memory.savers.company import refuse_ranks
from stdcf.memory.savers.saver import Saver
from stdcf.memory.savers.updates import Alone, grouped

# Optimisers whose step waits to be called after learn, with the options that it was done by.
_WAITING: WeakKeyDictionary[Optimizer, list[dict[str, Any]] | None] = WeakKeyDictionary()


class StepInBackward(Saver):
    """Updates a parameter in the backward pass and frees its gradient, so that there are never all.

    The optimiser's own step finds no gradients afterwards and does nothing; it must be called all
    the same, once after each `learn`, so that what would differ from a plain step is noticed.
    Rates, groups and state are the optimiser's; what it does is what it would have done, parameter
    by parameter. Nothing may look at the gradients of several parameters together, and there is no
    way back: clipping by their norm, a GradScaler, accumulation and DDP are refused. Clipping in a
    loop of one's own, between `learn` and the optimiser's step, cannot be seen: it would find no
    gradients.

    Raises:
        UserError: within, for an optimiser that cannot or has hooks before its step, DDP, gradients
            that are there already, or a step that was left out; in the optimiser's step, if its
            options were changed since, or there are other gradients.
    """

    name = "step_in_backward"
    needs_optimizer = updates = changes_state = True

    @contextmanager
    def step(self, model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
        refuse_ranks([self], 2 if isinstance(model, DistributedDataParallel) else 1)
        alone = Alone(optimizer, self.name)
        _refuse_hooks(optimizer)
        if _WAITING.get(optimizer) is not None:
            raise UserError(
                "step_in_backward has updated the parameters in the last learn, and "
                "optimizer.step() was not called since: call it once after each learn; to add up "
                "gradients, or to skip steps, leave step_in_backward out"
            )
        if optimizer not in _WAITING:
            optimizer.register_step_pre_hook(_nothing_left)
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
        _WAITING[optimizer] = _options(optimizer)


def _update(alone: Alone, group: dict[str, Any], parameter: Tensor) -> None:
    assert isinstance(parameter, nn.Parameter)
    alone.step(parameter, group)
    parameter.grad = None


def _refuse_hooks(optimizer: Optimizer) -> None:
    """Hooks before the step may clip gradients, which would be gone."""
    hooks = [
        *torch_optimizer._global_optimizer_pre_hooks.values(),
        *optimizer._optimizer_step_pre_hooks.values(),
    ]
    for hook in hooks:
        if not hook.__module__.startswith("stdcf."):
            name = getattr(hook, "__qualname__", type(hook).__name__)
            raise UserError(
                f"step_in_backward: the hook {name} before the optimiser's step would find no "
                "gradients: remove it, or leave step_in_backward out"
            )


def _options(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Each group's, with tensors as numbers."""
    return [
        {
            key: value.tolist() if isinstance(value, Tensor) else value
            for key, value in group.items()
            if key != "params"
        }
        for group in optimizer.param_groups
    ]


def _nothing_left(optimizer: Optimizer, *_: Any) -> None:
    """Before the optimiser's own step: whether it would have done what is done."""
    done = _WAITING.get(optimizer)
    if done is None:
        return
    _WAITING[optimizer] = None
    if done != _options(optimizer):
        raise UserError(
            "step_in_backward has updated the parameters in learn, by the optimiser's options as "
            "they were: change rates after optimizer.step() and not before it, or leave "
            "step_in_backward out"
        )
    if any(parameter.grad is not None for _, parameter in grouped(optimizer)):
        raise UserError(
            "step_in_backward has updated the parameters in learn, and there are gradients that "
            "came after it: give learn a loss that is all of them, or leave step_in_backward out"
        )
