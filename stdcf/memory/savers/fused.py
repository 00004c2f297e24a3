"""The optimiser's step in one kernel."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim import Optimizer

from stdcf.errors import UserError
from stdcf.memory.savers.saver import Saver


class Fused(Saver):
    """Sets the optimiser's own option `fused`, whose step makes no temporaries.

    On CUDA torch's default is `foreach`, whose temporaries are as large as all parameters; on a CPU
    they are one parameter's. The parameters are those of the default up to rounding.

    Raises:
        UserError: within, if the optimiser has no such option.
    """

    name = "fused"
    gradients = "the same bits; the step's rounding is another"
    needs_optimizer = True

    @contextmanager
    def step(self, model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
        for group in optimizer.param_groups:
            if "fused" not in group:
                raise UserError(
                    f"fused: {type(optimizer).__name__} has no such option; adam, adamw and sgd "
                    "have, or leave fused out"
                )
            group["fused"], group["foreach"] = True, False
            for parameter in group["params"]:
                # A fused step counts where the parameter is.
                count = optimizer.state.get(parameter, {}).get("step")
                if isinstance(count, Tensor):
                    optimizer.state[parameter]["step"] = count.to(parameter.device)
        yield
