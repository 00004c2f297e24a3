"""Where torch runs half-precision 3D convolutions without cuDNN, and what that takes.

cuDNN 9.8 to 9.14 give wrong results for some of them (pytorch#163539), so torch 2.9.0 does without
it from cuDNN 9.8 on (#163581), later versions with cuDNN 9.8 to 9.14 (#166480). The convolution
then is vol2col: a column for each place of the filter, multiplied by cuBLAS. One sample's columns
are as large as the output's places times the filter's size, in memory and in time many times what
cuDNN takes (#166643).
"""

import re
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from stdcf.errors import UserError

_HALF = frozenset({torch.bfloat16, torch.float16})
_FIRST_TORCH, _FIXED_TORCH = (2, 9, 0), (2, 9, 1)
_FIRST_CUDNN, _FIXED_CUDNN = (9, 8), (9, 15)
REMEDY = (
    "install cuDNN 9.15 or later (pip install -U 'nvidia-cudnn-cu12>=9.15', or -cu13), or train in "
    "channels_last_3d or in float32"
)


@dataclass(frozen=True)
class Versions:
    """Of torch and cuDNN.

    Attributes:
        torch: such as (2, 9, 1).
        cudnn: such as (9, 10); None where there is none.
    """

    torch: tuple[int, ...]
    cudnn: tuple[int, ...] | None

    @classmethod
    def read(cls, torch_version: str = "", cudnn_version: str = "") -> "Versions":
        """From words such as "2.9.1" and "9.10.2" or "91002"; "" is this machine's.

        Raises:
            UserError: for what is not a version.
        """
        own = _own_cudnn() if not cudnn_version else ""
        cudnn = _parsed(cudnn_version or own, "cuDNN") if cudnn_version or own else None
        if cudnn is not None and len(cudnn) == 1:
            # As torch.backends.cudnn.version() has it.
            cudnn = cudnn[0] // 10_000, cudnn[0] % 10_000 // 100
        return cls(_parsed(torch_version or torch.__version__, "torch"), cudnn)

    @property
    def falls_back(self) -> bool:
        """Whether half-precision 3D convolutions of contiguous clips run without cuDNN."""
        if self.torch < _FIRST_TORCH or self.cudnn is None or self.cudnn < _FIRST_CUDNN:
            return False
        return self.torch < _FIXED_TORCH or self.cudnn < _FIXED_CUDNN

    @property
    def warning(self) -> str:
        """What to know and to do; "" if it does not fall back."""
        if not self.falls_back:
            return ""
        return (
            f"{self} run half-precision 3D convolutions without cuDNN, in several times the memory "
            f"and time: {REMEDY}"
        )

    def __str__(self) -> str:
        cudnn = "without cuDNN" if self.cudnn is None else f"and cuDNN {_dotted(self.cudnn)}"
        return f"torch {_dotted(self.torch)} {cudnn}"


def takes_columns(clip: Tensor, weight: Tensor) -> bool:
    """Whether a convolution is of the kind that falls back (`ConvParams::use_cudnn`)."""
    if clip.dtype not in _HALF or weight.ndim != 5 or all(k == 1 for k in weight.shape[2:]):
        return False
    return not any(_is_channels_last(tensor) for tensor in (clip, weight))


def columns_bytes(clip: Tensor, weight: Tensor, output: Tensor, groups: int) -> int:
    """What vol2col allocates, for forward as for backward (`slow_conv_dilated3d`).

    Args:
        output: or its gradient.
    """
    if groups > 1 and groups == clip.shape[1]:
        # A depthwise convolution has a kernel of its own.
        return 0
    columns = prod(weight.shape[1:]) * prod(output.shape[2:]) * clip.element_size()
    # Groups run one by one, and their results are put together.
    together = output.numel() * output.element_size() if groups > 1 else 0
    return columns + together


def _is_channels_last(tensor: Tensor) -> bool:
    """By its strides alone, as torch's suggest_memory_format has it."""
    contiguous = tensor.is_contiguous()
    return tensor.is_contiguous(memory_format=torch.channels_last_3d) and not contiguous


def _own_cudnn() -> str:
    try:
        found: Any = torch.backends.cudnn.version()
    except RuntimeError:
        return ""
    return "" if found is None else str(found)


def _parsed(text: str, what: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", text.strip())
    if match is None:
        raise UserError(f"{text!r} is not a version of {what}; write one such as 2.9.1 or 9.10")
    return tuple(int(part) for part in match[0].split("."))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
