"""What real kernels return where fake ones return something smaller or of another type."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
# Their mean or sum is written into the storage of the unreduced loss, which stays as large. A sweep
# over all operators that torch tests (op_db of 2.14, float32 and bfloat16) found no other.
_LOSSES = frozenset(
    {_aten.mse_loss, _aten.smooth_l1_loss, _aten.binary_cross_entropy, _aten.soft_margin_loss}
)


class RealOutputs(TorchDispatchMode):
    """Gives the results of operators on fake tensors the storage and type that real ones have.

    - Reduced losses keep the storage of the whole loss.
    - On CPU nn.GroupNorm of bfloat16 with float32 parameters keeps float32 statistics, and its
      input's gradient is of the input's type.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = getattr(func, "_overloadpacket", None)
        if packet in _LOSSES and isinstance(out, Tensor) and out.ndim == 0:
            shape = torch.broadcast_shapes(args[0].shape, args[1].shape)
            return torch.empty(shape, dtype=out.dtype, device=out.device).as_strided((), ())
        if packet is _aten.native_group_norm:
            x, weight = args[0], args[1]
            if isinstance(weight, Tensor) and weight.dtype != x.dtype:
                return out[0], *(statistic.to(weight.dtype) for statistic in out[1:])
        if packet is _aten.native_group_norm_backward:
            grad = out[0]
            if isinstance(grad, Tensor) and grad.dtype != args[1].dtype:
                return grad.to(args[1].dtype), *out[1:]
        return out
