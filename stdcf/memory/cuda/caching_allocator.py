"""What CUDA's caching allocator makes of tensor lives: rounding, cached blocks, fragmentation."""

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stdcf.memory.tracking.lives import Life

# c10/cuda/CUDACachingAllocator of PyTorch 2.x, without PYTORCH_CUDA_ALLOC_CONF.
ROUND = 512
SMALL = 2**20
SMALL_SEGMENT = 2 * 2**20
LARGE_SEGMENT = 20 * 2**20
OWN_SEGMENT = 10 * 2**20
SEGMENT_ROUND = 2 * 2**20


@dataclass(eq=False)
class _Block:
    """A stretch of a segment; neighbours are blocks of the same segment."""

    n_bytes: int
    serial: int
    small: bool
    free: bool = True
    before: "_Block | None" = None
    after: "_Block | None" = None

    @property
    def key(self) -> tuple[int, int]:
        return self.n_bytes, self.serial


class CachingAllocator:
    """Follows PyTorch's default rules for one stream.

    A request is rounded up to 512 bytes and takes the smallest cached block that holds it, which is
    split if enough is left over; else a segment is reserved: 2 MiB for requests up to 1 MiB, 20 MiB
    for those below 10 MiB, a multiple of 2 MiB beyond. Freed blocks join their free neighbours and
    stay reserved.

    Attributes:
        allocated_bytes, reserved_bytes: now.
        peak_allocated_bytes: the most, as torch.cuda.max_memory_allocated counts it.
    """

    def __init__(self) -> None:
        self.allocated_bytes = self.peak_allocated_bytes = self.reserved_bytes = 0
        self._cached: dict[bool, list[tuple[tuple[int, int], _Block]]] = {True: [], False: []}
        self._serial = 0

    def allocate(self, n_bytes: int) -> _Block | None:
        """A block; None for a request of nothing, which takes none."""
        if n_bytes == 0:
            return None
        size = -(-n_bytes // ROUND) * ROUND
        block = self._take(size) or self._reserve(size)
        rest = block.n_bytes - size
        if rest >= ROUND if block.small else rest > SMALL:
            self._split(block, size)
        block.free = False
        self.allocated_bytes += block.n_bytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        return block

    def release(self, block: _Block | None) -> None:
        """Back into the cache."""
        if block is None:
            return
        self.allocated_bytes -= block.n_bytes
        block.free = True
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.free:
                self._cached_out(neighbour)
                self._join(block, neighbour)
        self._cache(block)

    def _take(self, size: int) -> _Block | None:
        cached = self._cached[size <= SMALL]
        index = bisect.bisect_left(cached, (size, -1), key=lambda item: item[0])
        return cached.pop(index)[1] if index < len(cached) else None

    def _reserve(self, size: int) -> _Block:
        if size <= SMALL:
            segment = SMALL_SEGMENT
        elif size < OWN_SEGMENT:
            segment = LARGE_SEGMENT
        else:
            segment = -(-size // SEGMENT_ROUND) * SEGMENT_ROUND
        self.reserved_bytes += segment
        return self._new(segment, size <= SMALL)

    def _new(self, n_bytes: int, small: bool) -> _Block:
        self._serial += 1
        return _Block(n_bytes, self._serial, small)

    def _split(self, block: _Block, size: int) -> None:
        rest = self._new(block.n_bytes - size, block.small)
        block.n_bytes = size
        rest.before, rest.after = block, block.after
        if block.after is not None:
            block.after.before = rest
        block.after = rest
        self._cache(rest)

    def _join(self, block: _Block, neighbour: _Block) -> None:
        block.n_bytes += neighbour.n_bytes
        if neighbour is block.before:
            block.before = neighbour.before
            if block.before is not None:
                block.before.after = block
        else:
            block.after = neighbour.after
            if block.after is not None:
                block.after.before = block

    def _cache(self, block: _Block) -> None:
        bisect.insort(self._cached[block.small], (block.key, block), key=lambda item: item[0])

    def _cached_out(self, block: _Block) -> None:
        cached = self._cached[block.small]
        del cached[bisect.bisect_left(cached, block.key, key=lambda item: item[0])]


def replay(lives: Sequence[Life], steps: int = 2) -> CachingAllocator:
    """The allocator after some steps of these lives; those born at 0 stay throughout."""
    allocator = CachingAllocator()
    lives = [life for life in lives if not life.on_host]
    for life in lives:
        if life.born == 0:
            allocator.allocate(life.n_bytes)
    passing = [life for life in lives if life.born > 0]
    for _ in range(steps):
        blocks: dict[int, _Block | None] = {}
        for index, born in _events(passing):
            if born:
                blocks[index] = allocator.allocate(passing[index].n_bytes)
            else:
                allocator.release(blocks.pop(index))
        for block in blocks.values():
            allocator.release(block)
    return allocator


def _events(lives: Sequence[Life]) -> Iterable[tuple[int, bool]]:
    """(index, whether it is born), in order; at one time deaths come first, of older ones."""
    found = []
    for index, life in enumerate(lives):
        found.append((life.born, 1, index))
        if life.died is not None:
            # What is born and dies at once (resized) dies after its birth.
            found.append((life.died, 0 if life.died > life.born else 2, index))
    return ((index, order == 1) for _, order, index in sorted(found))
