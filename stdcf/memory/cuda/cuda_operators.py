"""CUDA's choice of operators, for tensors that are on no GPU."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import Tensor

from stdcf.memory.cuda.autocast_contexts import cuda_contexts
from stdcf.memory.cuda.cuda_attention import attention
from stdcf.memory.cuda.cuda_autocast import register

_modelled: ContextVar[bool] = ContextVar("modelled", default=False)


@contextmanager
def cuda_operators() -> Iterator[None]:
    """Within, tensors on CPU are computed with as on CUDA.

    Dropout keeps a mask of bytes, attention is by CUDA's kernels, and autocast follows CUDA's
    lists. It is the dispatcher's kernels that change, so what torch's own modules and functions
    call is reached too, in backward as in forward.
    """
    if _modelled.get():
        yield
        return
    token = _modelled.set(True)
    library = torch.library.Library("aten", "IMPL")
    try:
        library.impl("dropout", _dropout, "AutogradCPU", allow_override=True)
        library.impl("scaled_dot_product_attention", attention, "AutogradCPU", allow_override=True)
        register(library)
        with cuda_contexts():
            yield
    finally:
        library._destroy()
        _modelled.reset(token)


def operators_of_now() -> Callable[[], AbstractContextManager[object]]:
    """The present choice of operators as a context for backward, which they reach by themselves."""
    return nullcontext


def _dropout(input: Tensor, p: float, train: bool) -> Tensor:
    if not train or p == 0 or input.numel() == 0:
        return input
    if p == 1:
        return input * torch.zeros((), dtype=input.dtype, device=input.device)
    return torch.native_dropout(input, p, True)[0]
