"""The least limit under which a training step runs, by replaying its requests."""

from collections.abc import Sequence
from dataclasses import dataclass

from stdcf.memory.cuda.allocator_settings import AllocatorSettings
from stdcf.memory.cuda.caching_allocator import (
    LARGE_SEGMENT,
    SEGMENT_ROUND,
    Block,
    CachingAllocator,
    LimitReached,
)
from stdcf.memory.tracking.lives import Life

_DEFAULT = AllocatorSettings()
# From the third step on nothing changes that the second had not changed.
STEPS = 3


class Requests:
    """What a step asks of the allocator, in order; made once, replayed often.

    Args:
        lives: those born at 0 stay throughout, in the first step from `first_born` on; those on the
            host ask nothing of the GPU.

    Attributes:
        staying, passing: those that are there before the first step, and those that steps make.
        kept: indices in passing of what the first step makes and the later ones find, such as the
            optimiser's state and cuBLAS's workspaces.
    """

    def __init__(self, lives: Sequence[Life]) -> None:
        on_device = [life for life in lives if not life.on_host]
        self.staying = [life for life in on_device if not (life.born or life.first_born)]
        self.passing = passing = [life for life in on_device if life.born or life.first_born]
        self.kept = {index for index, life in enumerate(passing) if life.born == 0}
        events = []
        for index, life in enumerate(passing):
            events.append((life.born or life.first_born, 1, index))
            if life.died is not None and index not in self.kept:
                # At one time deaths come first, of older ones; what is born and dies at once
                # (resized) dies after its birth.
                events.append((life.died, 0 if life.died > life.born else 2, index))
        self._first: list[tuple[int, int | None]] = [
            (index, passing[index].n_bytes if order == 1 else None)
            for _, order, index in sorted(events)
        ]
        self._later = [event for event in self._first if event[0] not in self.kept]

    def events(self, step: int) -> list[tuple[int, int | None]]:
        """Of a step, counted from 0: (index in passing, bytes of a birth or None of a death)."""
        return self._later if step else self._first

    def replay(
        self,
        steps: int = STEPS,
        limit_bytes: int | None = None,
        settings: AllocatorSettings = _DEFAULT,
    ) -> CachingAllocator:
        """The allocator after so many steps.

        Raises:
            LimitReached: if a step does not run under the limit.
        """
        allocator = CachingAllocator(limit_bytes, settings)
        for staying in self.staying:
            allocator.allocate(staying.n_bytes)
        for step in range(steps):
            blocks: dict[int, Block | None] = {}
            for index, n_bytes in self.events(step):
                if n_bytes is None:
                    allocator.release(blocks.pop(index))
                else:
                    blocks[index] = allocator.allocate(n_bytes)
            for index, block in blocks.items():
                if index not in self.kept:
                    allocator.release(block)
        return allocator


@dataclass(frozen=True)
class SmallestCap:
    """What a step needs at least.

    Attributes:
        n_bytes: the least limit of the allocator, a multiple of 2 MiB.
        flushes: how often a step under it gives back cached memory, each time waiting for the GPU.
    """

    n_bytes: int
    flushes: int


def smallest_cap(requests: Requests, settings: AllocatorSettings = _DEFAULT) -> SmallestCap:
    """The least limit under which three steps in turn run, by bisection.

    Fragmentation is not quite monotonous: a step may fail under a limit somewhat above one under
    which it runs. What is returned runs.
    """
    free = requests.replay(settings=settings)
    low = free.peak_allocated_bytes // SEGMENT_ROUND
    high = -(-free.peak_reserved_bytes // SEGMENT_ROUND)

    def flushes(cap: int, steps: int = STEPS) -> int | None:
        """How many under so many times 2 MiB; None if it does not run."""
        try:
            return requests.replay(steps, cap * SEGMENT_ROUND, settings).flushes
        except LimitReached:
            return None

    # Before an expandable segment grows by a page, the limit must have room for a whole segment.
    while flushes(high) is None:
        high += LARGE_SEGMENT // SEGMENT_ROUND
    while low < high:
        middle = (low + high) // 2
        if flushes(middle) is None:
            low = middle + 1
        else:
            high = middle
    last = (flushes(high) or 0) - (flushes(high, STEPS - 1) or 0)
    return SmallestCap(high * SEGMENT_ROUND, last)
