"""CUDA's choice of operators, for tensors that are on no GPU."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

DROPOUTS = (F.dropout, torch.dropout)

# Under autocast CPU computes these in float32, and CUDA in the type of their input.
STAYS_LOW = frozenset(
    {
        "avg_pool3d",
        "max_pool3d",
        "max_pool3d_with_indices",
        "adaptive_avg_pool3d",
        "adaptive_max_pool3d",
        "adaptive_max_pool3d_with_indices",
    }
)
# And the other way round (torch's documentation of autocast lists both).
GOES_HIGH = frozenset(
    {
        *("softmax", "log_softmax", "softmin", "layer_norm", "group_norm", "normalize"),
        *("cosine_similarity", "softplus", "pow", "__pow__", "rsqrt", "reciprocal"),
        *("exp", "expm1", "log", "log1p", "log2", "log10", "norm", "sum", "prod"),
        *("cumsum", "cumprod", "logsumexp", "cdist", "erfinv"),
    }
)


class CudaOperators(TorchFunctionMode):
    """Runs on CPU tensors the operators whose memory is that of CUDA's.

    Dropout keeps a mask of bytes, and autocast to bfloat16 sends to float32 what it does on CUDA.
    Calls inside of torch.nn.functional's own composites (multi-head attention) are not reached.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in DROPOUTS:
            return _dropout(*args, **kwargs)
        if torch.is_autocast_enabled("cpu"):
            name = getattr(func, "__name__", "")
            if name in STAYS_LOW:
                with torch.autocast("cpu", enabled=False):
                    return func(*args, **kwargs)
            if name in GOES_HIGH:
                args, kwargs = tree_map(_to_float32, (args, kwargs))
        return func(*args, **kwargs)


_modelled: ContextVar[bool] = ContextVar("modelled", default=False)


@contextmanager
def cuda_operators() -> Iterator[None]:
    """Within, tensors on CPU are computed with as on CUDA; see `CudaOperators`."""
    token = _modelled.set(True)
    try:
        with CudaOperators():
            yield
    finally:
        _modelled.reset(token)


def operators_of_now() -> Callable[[], AbstractContextManager[object]]:
    """The present choice of operators as a context for backward, which no mode reaches."""
    return CudaOperators if _modelled.get() else nullcontext


def _dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, train: bool = True
) -> Tensor:
    if not (training and train):
        return input
    if inplace or p in (0, 1):
        # CUDA has no fused operator for these either.
        return F.dropout(input, p, True, inplace)
    return torch.native_dropout(input, p, True)[0]


def _to_float32(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype == torch.bfloat16 else x
