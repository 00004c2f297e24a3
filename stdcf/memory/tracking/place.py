"""Where in a training step execution stands: its phase and its module."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves


class Place:
    """Follows modules and the optimiser by their hooks, between `follow` and `leave`.

    Args:
        around_optimizer: called before and after the optimiser's step.
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer | None, around_optimizer: Callable[[], None]
    ) -> None:
        self._optimizer, self._around_optimizer = optimizer, around_optimizer
        self._names = {id(module): name for name, module in model.named_modules()}
        self._stack: list[str] = []
        self._backward_module = ""
        self._in_optimizer = False
        self._undo: list[Callable[[], None]] = []

    @property
    def phase(self) -> str:
        """What is running: "forward", "backward" or "optimizer", which ends at the next forward."""
        if self._in_optimizer:
            return "optimizer"
        # Private, and what torch.utils.module_tracker itself asks; a test pins it.
        return "forward" if torch._C._current_graph_task_id() == -1 else "backward"

    @property
    def module(self) -> str:
        """The innermost module that is running, "" outside of any."""
        if self._stack:
            return self._stack[-1]
        return self._backward_module if self.phase == "backward" else ""

    def follow(self) -> None:
        """Hooks in."""
        self._undo += [
            register_module_forward_pre_hook(self._enter).remove,
            register_module_forward_hook(self._leave, always_call=True).remove,
        ]
        if self._optimizer is not None:
            self._undo += [
                self._optimizer.register_step_pre_hook(self._start_optimizer).remove,
                self._optimizer.register_step_post_hook(self._end_optimizer).remove,
            ]

    def leave(self) -> None:
        """Takes every hook away."""
        while self._undo:
            self._undo.pop()()

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._in_optimizer = False
        self._stack.append(self._names.get(id(module), type(module).__name__))

    def _leave(self, module: nn.Module, args: Any, out: Any) -> None:
        name = self._stack.pop()
        for tensor in tree_leaves(out):
            node = tensor.grad_fn if isinstance(tensor, Tensor) else None
            # The innermost module leaves first and keeps the node.
            if node is None:
                continue
            known: dict[object, object] = node.metadata  # type: ignore[assignment]
            if self not in known:
                known[self] = name
                node.register_prehook(lambda grads: self._set_backward_module(name))

    def _set_backward_module(self, name: str) -> None:
        self._backward_module = name

    def _start_optimizer(self, *_: Any) -> None:
        self._around_optimizer()
        self._in_optimizer = True

    def _end_optimizer(self, *_: Any) -> None:
        self._around_optimizer()
