"""Backward through a random part of the frames."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes as disable_current_modes

from stdcf.errors import UserError
from stdcf.memory.savers.bounded import hooked, layers_of_parts
from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.saver import Saver
from stdcf.memory.tracking.lives import storages

_POOLS = frozenset(f"{kind}_pool3d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg"))
_CONVOLUTIONS = frozenset({"conv3d", "conv_transpose3d"})
_NORMS = frozenset({"batch_norm", "instance_norm", "group_norm"})
_POINTWISE = frozenset(
    {
        *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "elu", "gelu", "silu", "mish"),
        *("hardswish", "sigmoid", "tanh", "dropout", "dropout3d", "native_dropout"),
    }
)


class Stochastic(Saver):
    """Stochastic backpropagation (Cheng et al. 2022): all frames go forward, a random part of them
    backward.

    Of each map [B, C, T, H, W] that 3D convolutions, pools, normalisations and activations save, a
    run of round(keep·T) neighbouring frames is kept, at least one; it goes round the clip's end.
    Where it starts is drawn once a forward pass, in seconds and not in frames, so that maps of all
    lengths keep the same stretch of the clip. At other frames no gradient reaches a convolution, a
    pool or a normalisation. What other operators save stays whole. Convolutions still multiply the
    zeros.

    Args:
        keep: share of the frames, above 0; 1 is the plain step.

    Raises:
        UserError: in training, if the model has no such map of several frames.
    """

    name = "stochastic"
    gradients = "of a random part of the frames"

    def __init__(self, keep: float) -> None:
        if not 0 < keep <= 1:
            raise UserError(f"stochastic keeps a share of frames above 0 and up to 1, not {keep:g}")
        self.keep = keep

    def __str__(self) -> str:
        return f"{self.name}={self.keep:g}"

    @contextmanager
    def forward(self, model: nn.Module, clip_BCTHW: Tensor, packing: Packing) -> Iterator[None]:
        if self.keep == 1:
            yield
            return
        with disable_current_modes():
            start = torch.rand((), device="cpu").item()
        frames = Frames(start, self.keep)
        packing.packers.append(frames.pack)
        with frames.watching(model):
            yield
        if not frames.found:
            raise UserError(
                f"stochastic saves nothing in {type(model).__name__}: it has no 3D convolution "
                "whose maps [B, C, T, H, W] have several frames; leave stochastic out"
            )


@dataclass(eq=False)
class _Part:
    """Some frames of a map; the others are zeros when it comes back."""

    part_BCNHW: Tensor  # noqa: N815
    frames_N: Tensor  # noqa: N815
    size: torch.Size
    stride: tuple[int, ...]

    # What other operators save of the same tensor is kept whole.
    for_one = True

    def unpack(self) -> Tensor:
        part = self.part_BCNHW
        whole = torch.empty_strided(self.size, self.stride, dtype=part.dtype, device=part.device)
        return whole.zero_().index_copy_(2, self.frames_N, part)


class Frames(TorchFunctionMode):
    """Which frames are kept, and the operators whose maps have frames.

    Args:
        start: of the kept frames, as a share of the clip, in [0, 1).
        keep: their share.

    Attributes:
        found: whether a map with several frames has been seen.
    """

    def __init__(self, start: float, keep: float) -> None:
        super().__init__()
        self._start, self._keep = start, keep
        self.found = False
        self._takes: Callable[[Tensor], bool] = _nothing
        self._known: dict[tuple[Any, ...], tuple[weakref.ref[Any], weakref.ref[_Part]]] = {}

    def kept(self, length: int) -> list[int]:
        """Frames that are kept of a map of so many."""
        count = max(round(self._keep * length), 1)
        first = int(self._start * length)
        return sorted((first + n) % length for n in range(count))

    def pack(self, tensor: Tensor) -> _Part | None:
        """The kept frames of a map that is saved by one of the operators; None of others."""
        if tensor.ndim != 5 or not self._takes(tensor):
            return None
        storage = next(storages(tensor))
        key = (storage._cdata, tensor._version, tensor.shape, tensor.stride(), tensor.dtype)
        storage_ref, part_ref = self._known.get(key, (None, None))
        # A dead storage's address may belong to another one by now.
        known = part_ref() if part_ref is not None else None
        if known is not None and storage_ref is not None and storage_ref() is storage:
            return known
        kept = self.kept(tensor.shape[2])
        if len(kept) == tensor.shape[2]:
            return None
        frames_N = torch.tensor(kept, device=tensor.device)
        part = _Part(tensor.index_select(2, frames_N), frames_N, tensor.shape, tensor.stride())
        self._known[key] = weakref.ref(storage), weakref.ref(part)
        return part

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Around forward."""
        with hooked(layers_of_parts(model), self._before, self._after), self:
            yield

    def _before(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        self._takes = partial(_is_like, args[0])

    def _after(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._takes = _nothing
        self._mask(output)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name, before = getattr(func, "__name__", ""), self._takes
        given = args[0] if args else kwargs.get("input")
        if not isinstance(given, Tensor) or given.ndim != 5:
            return func(*args, **kwargs)
        if name in _CONVOLUTIONS:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            # The filter is saved too.
            self._takes = _nothing if weight.shape == given.shape else partial(_is_like, given)
        elif name in _POOLS:
            self._takes = partial(_is_of_batch, given)
        elif name in _POINTWISE | _NORMS:
            self._takes = partial(_is_like, given)
        else:
            return func(*args, **kwargs)
        try:
            out = func(*args, **kwargs)
        finally:
            self._takes = before
        if name in _CONVOLUTIONS | _NORMS | _POOLS:
            self._mask(out[0] if isinstance(out, tuple) else out)
        return out

    def _mask(self, map_BCTHW: Tensor) -> None:
        """Stops a map's gradient at the frames that are not kept.

        What leaves frames alone needs no such mask: it takes from a frame what it gives to it. A
        pool would send gradients to places that it does not know.
        """
        length = map_BCTHW.shape[2]
        dropped = sorted({*range(length)} - {*self.kept(length)})
        self.found = self.found or length > 1
        if dropped and map_BCTHW.requires_grad:
            frames_N = torch.tensor(dropped, device=map_BCTHW.device)
            map_BCTHW.register_hook(lambda grad: grad.index_fill(2, frames_N, 0))


def _nothing(tensor: Tensor) -> bool:
    return False


def _is_like(given: Tensor, tensor: Tensor) -> bool:
    return tensor.shape == given.shape


def _is_of_batch(given: Tensor, tensor: Tensor) -> bool:
    return tensor.shape[:2] == given.shape[:2]
