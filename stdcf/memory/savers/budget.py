"""What to keep, chosen by torch's compiler."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.backends.registry import lookup_backend
from torch._dynamo.exc import BackendCompilerFailed
from torch.fx import GraphModule

from stdcf.errors import UserError
from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.randomness import Backend, drawn_again_right, draws
from stdcf.memory.savers.saver import Saver


class Budget(Saver):
    """EXPERIMENTAL: torch.compile keeps a share of what it would keep, and computes the rest again.

    It sets `activation_memory_budget`, a private option of functorch that torch may change or take
    away. The model is compiled, by Inductor on CUDA and on CPU without code generation: there
    operators are not fused, and what the compiler splits into small operators may take more memory
    than the plain step. Dispatch-level trackers make a compiled model run plain, so it can be
    neither predicted nor held to a cap on CPU.

    A graph that draws random numbers (dropout) is refused where this torch draws them anew in the
    backward pass, as 2.14 does: a small graph is tried, once.

    Args:
        share: from 0 (keep the least) to 1 (no change).
    """

    name = "budget"
    gradients = "up to the order of operations"
    costs = "what the compiler computes again"
    compiles = True

    def __init__(self, share: float) -> None:
        if not 0 <= share <= 1:
            raise UserError(f"budget must be a share from 0 to 1, not {share}")
        self.share = share
        self._compiled: tuple[nn.Module, Callable[..., Any]] | None = None

    def __str__(self) -> str:
        return f"{self.name}={self.share:g}"

    @contextmanager
    def forward(self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing) -> Iterator[None]:
        config = _config()
        if self._compiled is None or self._compiled[0] is not model:
            device = clip_BCTHW.device.type
            name = "inductor" if device == "cuda" else "aot_eager_decomp_partition"
            # Tried here, for a compiler cannot be called within another's work.
            right = self.share == 1 or drawn_again_right(name, device, self.share)
            backend = partial(_compile, lookup_backend(name), right)
            self._compiled = model, torch.compile(model.forward, backend=backend)
        model.forward = self._compiled[1]
        try:
            with config.patch(activation_memory_budget=self.share):
                yield
        except BackendCompilerFailed as error:
            if isinstance(error.inner_exception, UserError):
                raise error.inner_exception from None
            raise
        finally:
            del model.__dict__["forward"]


def _compile(backend: Backend, draws_right: bool, graph: GraphModule, inputs: list[Any]) -> Any:
    drawn = [] if draws_right else draws(graph, inputs)
    if drawn:
        raise UserError(
            f"budget: the model draws random numbers, or may ({drawn[0]}), and torch "
            f"{torch.__version__} draws others in its backward pass; checkpoint saves as much "
            "and draws the same"
        )
    return backend(graph, inputs)


def _config() -> Any:
    from torch._functorch import config

    if not hasattr(config, "activation_memory_budget"):
        raise UserError(
            f"saver budget needs torch's activation_memory_budget, which torch {torch.__version__} "
            "does not have: take checkpoint, which does much the same"
        )
    return config
