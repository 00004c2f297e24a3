"""What every memory saver has in common."""

from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from stdcf.memory.savers.packing import Packing


class Saver:
    """A way to train in less memory; one small class each, and any of them go together.

    Attributes:
        name: as it stands in a spec; a value may follow, as in "accumulate=4".
        gradients: how they compare with the plain step's.
        costs: what a step takes beyond the multiplications that `LifeTracker.macs` counts; "" if
            nothing.
        compiles: it compiles the model, which no tracker can look into.
        micro_batches: how many parts a batch is learnt in, one after the other.
        needs_optimizer: it changes the optimiser's step, so `learn` must be given the optimiser.
        updates: parameters are updated before backward has ended.
        changes_state: the optimiser's state comes or lies elsewhere than in a plain step.
    """

    name: ClassVar[str]
    gradients: str = "the same bits"
    costs: ClassVar[str] = ""
    compiles: ClassVar[bool] = False
    micro_batches: int = 1
    needs_optimizer: ClassVar[bool] = False
    updates: ClassVar[bool] = False
    changes_state: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.name

    def forward(
        self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing
    ) -> AbstractContextManager[object]:
        """Around the forward pass of one micro-batch in training.

        Args:
            packing: to whose packers the saver may add its own.
        """
        return nullcontext()

    def prepare(self, model: nn.Module) -> None:
        """Before an optimiser is made of the model's parameters, and before each batch."""

    def step(self, model: nn.Module, optimizer: Optimizer) -> AbstractContextManager[object]:
        """Around forward and backward of a whole batch, of a saver that `needs_optimizer`."""
        return nullcontext()
