"""What operators allocate and free within themselves, learnt by running them alone."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from stdcf.memory.tracking.allocator_events import allocator_peak
from stdcf.memory.tracking.lives import storages
from stdcf.memory.tracking.moment import Moment
from stdcf.memory.tracking.tracker import LifeTracker

# No operator in use allocates more, results included, than so many times what it reads and gives.
_AT_MOST = 4


@dataclass(frozen=True)
class _Like:
    """A tensor without its values."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def make(self, device: torch.device) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device).zero_()


@dataclass(frozen=True)
class _Call:
    function: Any
    arguments: Any
    time: int
    moment: Moment
    at_most_bytes: int


@dataclass(frozen=True)
class WorkspacePeak:
    """The peak when operators' own allocations count.

    Attributes:
        breakdown: what was alive before the operator, by category, and "workspaces": all that it
            allocated, its results included.
    """

    peak_bytes: int
    breakdown: dict[str, int]
    moment: Moment


class Workspaces:
    """Notes the operators of a tracked step, then runs alone those that may make the peak.

    On CPU an operator is measured by the allocator's events, on CUDA by the allocator's count. What
    an operator allocates depends on the machine: on oneDNN's choice of algorithm, or cuDNN's.
    """

    def __init__(self) -> None:
        self.tracker: LifeTracker | None = None
        self._calls: list[_Call] = []

    def note(self, function: Any, arguments: Any, out: Any, before_bytes: int) -> None:
        """`LifeTracker`'s on_operator."""
        assert self.tracker is not None
        if function.is_view:
            return
        sizes = {s._cdata: s.nbytes() for s in storages((arguments, out))}
        operator = f"{function.namespace}.{function._opname}"
        self._calls.append(
            _Call(
                function,
                tree_map(_without_values, arguments),
                self.tracker.time,
                Moment(self.tracker.place.phase, operator, self.tracker.place.module),
                before_bytes + _AT_MOST * sum(sizes.values()),
            )
        )

    def peak(self, device: torch.device) -> WorkspacePeak | None:
        """The highest operator, if it is higher than the tracker's peak."""
        assert self.tracker is not None
        best, highest = self.tracker.peak_bytes, None
        known: dict[str, int] = {}
        for call in sorted(self._calls, key=lambda call: -call.at_most_bytes):
            if call.at_most_bytes + self.tracker.backdated_bytes <= best:
                break
            key = f"{call.function} {call.arguments}"
            if key not in known:
                known[key] = _alone(call, device)
            before = self.tracker.breakdown(before=call.time)
            total_bytes = sum(before.values()) + known[key]
            if total_bytes > best:
                best = total_bytes
                breakdown = before | {"workspaces": known[key]}
                highest = WorkspacePeak(total_bytes, breakdown, call.moment)
        return highest


def _without_values(x: Any) -> Any:
    return _Like(tuple(x.shape), x.stride(), x.dtype) if isinstance(x, Tensor) else x


def _alone(call: _Call, device: torch.device) -> int:
    norm = "norm" in call.function._opname

    def make(x: Any) -> Any:
        if not isinstance(x, _Like):
            return x
        # As a fake tensor a normalisation's statistics have its input's type; they are float32.
        if norm and len(x.shape) == 1 and x.dtype.is_floating_point:
            x = replace(x, dtype=torch.float32)
        return x.make(device)

    args, kwargs = tree_map(make, call.arguments)
    with torch.no_grad():
        if device.type == "cpu":
            return allocator_peak(lambda: call.function(*args, **kwargs))
        before_bytes = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call.function(*args, **kwargs)
        return torch.cuda.max_memory_allocated(device) - before_bytes
