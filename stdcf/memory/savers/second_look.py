"""Whether a block's second run saves what its first one did, on a sample of each saved tensor."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import checkpoint as torch_checkpoint

from stdcf.errors import UserError
from stdcf.memory.savers.packing import is_plain
from stdcf.memory.tracking.lives import tensors

# Values of each saved tensor that are compared.
SAMPLE = 256
# Tensors of up to so many values are looked at when the block has run, and not when they are saved.
SMALL = 2**17
# Of kernels that add in any order two runs may differ by rounding.
_TOLERANCE = {
    torch.float64: 1e-9,
    torch.complex128: 1e-9,
    torch.float32: 1e-4,
    torch.complex64: 1e-4,
}
_LOW_TOLERANCE = 2e-2

# torch compares what this table's functions give for each saved tensor of both runs (private: a
# test pins it).
_TABLE: dict[str, Any] = torch_checkpoint._allowed_determinism_checks_to_fns
VALUES = "stdcf values"


class _Run:
    """The first run of a block: its name, and the looks that wait for its end."""

    def __init__(self, block: str) -> None:
        self.block = block
        self.waiting: list[tuple[Look, Tensor, int]] = []


_run: ContextVar[_Run | None] = ContextVar("run", default=None)


class Look:
    """Shape, type, device and a sample of a saved tensor.

    Raises:
        UserError: when it is compared with a look at another tensor.
    """

    def __init__(self, tensor: Tensor) -> None:
        tensor = tensor.detach()
        run = _run.get()
        self.block = run.block if run is not None else ""
        self.form = (tuple(tensor.shape), tensor.dtype, tensor.device)
        # A norm changes the running statistics that it saves, and does not say so.
        self._is_taken = run is None or tensor.numel() > SMALL
        self._tensor = _sample(tensor) if self._is_taken else tensor
        if run is not None and not self._is_taken:
            run.waiting.append((self, tensor, tensor._version))

    def sample(self) -> Tensor:
        """Some of its values, as they are when it is first asked for."""
        if not self._is_taken:
            self._tensor, self._is_taken = _sample(self._tensor), True
        return self._tensor

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Look):
            return NotImplemented
        if self.form != other.form:
            raise _refusal(self.block, "saves other tensors")
        off = _distance(self.sample(), other.sample())
        dtype = self.form[1]
        rounds = dtype.is_floating_point or dtype.is_complex
        if not off <= (_TOLERANCE.get(dtype, _LOW_TOLERANCE) if rounds else 0):
            raise _refusal(self.block, f"does not compute the same, but {off:.2g} off,")
        return True

    __hash__ = None  # type: ignore[assignment]


_TABLE[VALUES] = Look


@contextmanager
def looking_at(block: str) -> Iterator[None]:
    """Around the first run of a block, whose name an error gives.

    Raises:
        UserError: if it changes in place what it has saved.
    """
    run = _Run(block)
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)
    for look, tensor, version in run.waiting:
        if tensor._version != version:
            raise UserError(
                f"checkpoint: block {block} changes in place a tensor {list(tensor.shape)} that "
                "its backward pass needs; write x = x + y for x += y, or clone it first"
            )
        look.sample()


def gives_the_same(block: str, first: Any, second: Any) -> None:
    """Compares what two runs of a block give.

    What is saved does not show a state that comes in as a number, or after the last saved tensor.

    Raises:
        UserError: if it is not the same.
    """
    token = _run.set(_Run(block))
    try:
        looks = [[Look(t) for t in tensors(out) if is_plain(t)] for out in (first, second)]
        if len(looks[0]) != len(looks[1]):
            raise _refusal(block, "gives another number of tensors")
        # A look that is not the same refuses by itself.
        assert looks[0] == looks[1]
    finally:
        _run.reset(token)


def _refusal(block: str, what: str) -> UserError:
    return UserError(
        f"checkpoint: block {block} {what} when it is run again: it keeps a state that is no "
        "buffer, draws numbers by a generator of its own, or changes in place what backward "
        "needs; mend that, or leave checkpoint out"
    )


def saves_fewer(block: str) -> UserError:
    """The error of a second run that ends before it has saved all."""
    return _refusal(block, "saves fewer tensors")


def _sample(tensor: Tensor) -> Tensor:
    if tensor.layout != torch.strided or not tensor.ndim or not tensor.numel():
        return tensor.clone()
    n = tensor.numel()
    # Spread by the golden ratio, so that no axis is seen at one place alone.
    step = max(1, int(n * 0.618))
    step += math.gcd(step, n) != 1
    places = [index * step % n for index in range(min(n, SAMPLE))]
    at = []
    for size in reversed(tensor.shape):
        at.append(torch.tensor([place % size for place in places], device=tensor.device))
        places = [place // size for place in places]
    return tensor[tuple(reversed(at))]


def _distance(a: Tensor, b: Tensor) -> float:
    """Relative; of predictions, that have no values, 0."""
    if isinstance(a, FakeTensor) or isinstance(b, FakeTensor):
        return 0.0
    if not a.is_floating_point() and not a.is_complex():
        return float((a != b).sum()) / max(a.numel(), 1)
    same = (a == b) | ((a != a) & (b != b))
    wide = torch.complex128 if a.is_complex() else torch.float64
    difference = torch.where(same, 0, a.to(wide) - b.to(wide)).norm()
    norms = [t.to(wide).abs().nan_to_num(0, 0, 0).norm() for t in (a, b)]
    return float(difference) / max(*map(float, norms), 1e-300)
