"""Steps of an optimiser on some of its parameters alone."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stdcf.errors import UserError
from stdcf.memory.savers.rounded import can_round, is_rounded, rounded, whole
from stdcf.memory.tracking.lives import lies_on_host, on_host, put_on_host

# Optimisers whose state lies on the host between their steps, or in 8 bits.
ON_HOST: WeakSet[Optimizer] = WeakSet()
EIGHT_BIT: WeakSet[Optimizer] = WeakSet()
# Those whose step is done by hooks before and after it, and the hooks.
_HOOKS: WeakKeyDictionary[Optimizer, tuple[int, int]] = WeakKeyDictionary()


class Alone:
    """An optimiser's step on one parameter at a time, with the optimiser's own state and rates.

    Hooks on the optimiser's step are not called. Of an optimiser in `ON_HOST` or `EIGHT_BIT` the
    parameter's state is on the device, in its own type, for as long as that takes.

    Args:
        optimizer: one whose step treats each parameter by itself.
        saver: named in errors.

    Raises:
        UserError: if the optimiser asks for the loss again (LBFGS), which takes all parameters, or
            has a step that is not torch's: what it looks at, and counts, cannot be known.
    """

    def __init__(self, optimizer: Optimizer, saver: str) -> None:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise UserError(
                f"{saver} steps each parameter by itself, and LBFGS takes all at once: take adam, "
                f"adamw or sgd, or leave {saver} out"
            )
        if not type(optimizer).step.__module__.startswith("torch.optim."):
            raise UserError(
                f"{saver} steps each parameter by itself, and the step of "
                f"{type(optimizer).__name__} is not torch's own: it may look at several, or count "
                f"its calls; take an optimiser of torch.optim, or leave {saver} out"
            )
        self._optimizer = optimizer
        # Of the same class and with the same state, which a copy by copy.copy would lose parts of.
        self._one: Optimizer = object.__new__(type(optimizer))

    def step(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        """The step on one parameter of a group of the optimiser's."""
        state = self._optimizer.state[parameter]
        hosted = {name: value for name, value in state.items() if lies_on_host(value)}
        for name, value in hosted.items():
            state[name] = value.to(parameter.device, copy=True)
        rounded_before = {name: value for name, value in state.items() if is_rounded(value)}
        for name, value in rounded_before.items():
            state[name] = whole(value, parameter)
        self._step(parameter, group)
        if self._optimizer in EIGHT_BIT:
            for name, value in state.items():
                if can_round(value) and value.numel() == parameter.numel():
                    state[name] = rounded(value, name, rounded_before.get(name))
        if self._optimizer in ON_HOST:
            for name, value in state.items():
                if isinstance(value, Tensor) and value.numel() == parameter.numel() > 1:
                    state[name] = _sent(value, hosted.get(name))

    def _step(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        one = self._one
        one.__dict__.clear()
        one.__dict__.update(self._optimizer.__dict__)
        # A scheduler puts a step of its own there, which is the optimiser's.
        one.__dict__.pop("step", None)
        one.__dict__["_optimizer_step_pre_hooks"] = OrderedDict()
        one.__dict__["_optimizer_step_post_hooks"] = OrderedDict()
        one.param_groups = [{**group, "params": [parameter]}]
        type(self._optimizer).step(one)


def _sent(value: Tensor, before: Tensor | None) -> Tensor:
    with on_host():
        if before is None:
            before = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        return put_on_host(before.copy_(value))


def step_alone(optimizer: Optimizer, saver: str) -> None:
    """From now on the optimiser's step is one on each parameter by itself.

    To be called before each step: hooks that came since may change gradients, before, or look at
    them, after.

    Args:
        saver: named in errors.

    Raises:
        UserError: as `Alone` does; in the optimiser's step, if that is given a closure.
    """
    if optimizer not in _HOOKS:
        updates = _Updates(Alone(optimizer, saver), saver)
        _HOOKS[optimizer] = (
            optimizer.register_step_pre_hook(updates.before).id,
            optimizer.register_step_post_hook(updates.after).id,
        )
    before, after = optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks
    assert isinstance(before, OrderedDict)
    assert isinstance(after, OrderedDict)
    before.move_to_end(_HOOKS[optimizer][0])
    after.move_to_end(_HOOKS[optimizer][1], last=False)


class _Updates:
    """Does an optimiser's step in its place."""

    def __init__(self, alone: Alone, saver: str) -> None:
        self._alone, self._saver = alone, saver
        self._gradients: list[tuple[nn.Parameter, Tensor]] = []

    def before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if any(callable(value) for value in (*args, *kwargs.values())):
            raise UserError(
                f"{self._saver} updates parameters before optimizer.step(closure) calls its "
                "closure: call learn first and then optimizer.step() without one, or leave "
                f"{self._saver} out"
            )
        for group, parameter in grouped(optimizer):
            if parameter.grad is not None:
                self._alone.step(parameter, group)
                self._gradients.append((parameter, parameter.grad))
                # The optimiser's own step shall find nothing to do.
                parameter.grad = None

    def after(self, *_: Any) -> None:
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        self._gradients.clear()


def grouped(optimizer: Optimizer) -> Iterator[tuple[dict[str, Any], nn.Parameter]]:
    """Each parameter with its group."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield group, parameter
