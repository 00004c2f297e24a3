"""What cuBLAS and cuDNN take of the CUDA allocator within a training step, beside its tensors.

Read off the allocator's own trace of steps on an H200 (torch 2.11, cuDNN 9.19, 2026-11-26):

- cuBLAS keeps a workspace for each thread that multiplies matrices: one for forward, one for
  backward. It is 32 MiB on Hopper and 8.1 MiB before it (NVIDIA's documentation of
  CUBLAS_WORKSPACE_CONFIG); without a GPU at hand Hopper's counts.
- A convolution of contiguous clips runs on tensor cores, which want channels last: cuDNN lays
  input, filter and output out anew in a workspace as large as these. So it does in backward, first
  for the input's gradient, then for the filter's.
- A pointwise convolution needs no layout: it adds its filter's gradient up from 8 parts (one of
  some sizes was seen to be laid out all the same). With a stride it is as the others, but for
  forward, which lays out input and filter (of smaller ones the output too).

Two rules more were read off what the allocator had reserved after 207 steps, without a trace:

- Clips of one channel are in both layouts at once: forward lays out filter and output alone.
- The filter's gradient of a convolution of fewer channels than tensor cores take (8), as of clips
  with 1 or 3, needs about twice the output's gradient beside input and filter: 2.2 to 2.3 times in
  resnet3d_50, 1.9 in kth_cnn.

Where clips are in channels_last_3d, or of a type without tensor cores, nothing is counted: that was
not measured.
"""

from typing import Any

import torch
from torch import Tensor

from stdcf.memory.cuda.cudnn_fallback import columns_bytes, takes_columns
from stdcf.memory.tracking.lives import Life, storages
from stdcf.memory.tracking.tracker import LifeTracker

_HOPPER_BYTES = 32 * 2**20
_OLDER_BYTES = 2 * 4096 * 1024 + 8 * 16 * 1024

# A pointwise filter's gradient is so many sums, added up at the end.
_PARTS = 8
# Of channels, below which the filter's gradient takes the output's twice.
_ALIGNED = 8

_aten = torch.ops.aten
_PRODUCTS = frozenset({_aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm, _aten.addmv, _aten.mv})
_CONVOLUTIONS = frozenset({_aten.convolution, _aten.convolution_backward})
# float32 by TF32, which cuDNN may use unless torch.backends.cudnn.allow_tf32 is False.
_ON_TENSOR_CORES = frozenset({torch.float32, torch.bfloat16, torch.float16})


class CudaLibraries:
    """Notes what the libraries take as a step is tracked.

    Args:
        falls_back: half-precision 3D convolutions run without cuDNN (`cudnn_fallback`).

    Attributes:
        lives: of the workspaces, for the allocator's simulation.
    """

    def __init__(self, falls_back: bool = False) -> None:
        self._falls_back = falls_back
        self.tracker: LifeTracker | None = None
        self.lives: list[Life] = []
        self._threads: set[str] = set()

    def note(self, function: Any, arguments: Any, out: Any, before_bytes: int) -> None:
        """`LifeTracker`'s on_operator."""
        assert self.tracker is not None
        packet = getattr(function, "_overloadpacket", None)
        # The optimiser runs on the thread of forward.
        thread = "backward" if self.tracker.place.phase == "backward" else "forward"
        by_columns = packet in _CONVOLUTIONS and self._by_columns(packet, arguments[0])
        if (packet in _PRODUCTS or by_columns) and thread not in self._threads:
            self._threads.add(thread)
            kept = Life(cublas_bytes(), "workspaces", 0, thread, 0, first_born=self.tracker.time)
            self._add(kept, "cuBLAS")
        if packet in _CONVOLUTIONS:
            if by_columns:
                n_bytes = _columns_bytes(packet, arguments[0], out)
            else:
                n_bytes = convolution_workspace_bytes(packet, arguments[0], out)
            now = self.tracker.time
            library = "vol2col" if by_columns else "cuDNN"
            self._add(Life(n_bytes, "workspaces", now, thread, 0, died=now + 1), library)

    def _by_columns(self, packet: Any, arguments: Any) -> bool:
        if not self._falls_back:
            return False
        clip, weight = arguments[1:3] if packet is _aten.convolution_backward else arguments[:2]
        return takes_columns(clip, weight)

    def _add(self, life: Life, library: str) -> None:
        assert self.tracker is not None
        life.operator = library
        life.module = self.tracker.place.module if life.born else ""
        self.lives.append(life)


def cublas_bytes() -> int:
    """Of one thread, on the GPU at hand."""
    if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] < 9:
        return _OLDER_BYTES
    return _HOPPER_BYTES


def _columns_bytes(packet: Any, arguments: Any, out: Any) -> int:
    if packet is _aten.convolution_backward:
        grad, clip, weight = arguments[:3]
        return columns_bytes(clip, weight, grad, arguments[9])
    return columns_bytes(arguments[0], arguments[1], out, arguments[8])


def convolution_workspace_bytes(packet: Any, arguments: Any, out: Any) -> int:
    """Of one aten.convolution or aten.convolution_backward, by its positional arguments."""
    backward = packet is _aten.convolution_backward
    if backward:
        grad, clip, weight, _, stride, _, _, transposed, _, groups, needs = arguments
    else:
        clip, weight, _, stride, _, _, transposed, _, groups = arguments
    if clip.dtype not in _ON_TENSOR_CORES or transposed or groups != 1 or not _contiguous(clip):
        return 0
    if all(k == 1 for k in weight.shape[2:]):
        if all(s == 1 for s in stride):
            return _PARTS * weight.untyped_storage().nbytes() if backward and needs[1] else 0
        if not backward:
            return _bytes(clip, weight)
    if not backward:
        return _bytes(weight, out) if clip.shape[1] == 1 else _bytes(clip, weight, out)
    more = _bytes(grad) if needs[1] and clip.shape[1] < _ALIGNED else 0
    return _bytes(clip, weight, grad) + more


def _bytes(*tensors: Tensor) -> int:
    return sum(storage.nbytes() for storage in storages(tensors))


def _contiguous(clip: Tensor) -> bool:
    last = torch.channels_last_3d if clip.ndim == 5 else torch.channels_last
    one_channel = clip.shape[1] == 1
    return clip.is_contiguous() and (one_channel or not clip.is_contiguous(memory_format=last))
