"""What CUDA's caching allocator makes of requests: rounding, cached blocks, fragmentation, limits.

The rules are those of c10/cuda/CUDACachingAllocator.cpp (PyTorch 2.10) for one stream; each is
named by its function there.
"""

import bisect
from dataclasses import dataclass

from stdcf.memory.cuda.allocator_settings import ROUND, AllocatorSettings

SMALL = 2**20
SMALL_SEGMENT = 2 * 2**20
LARGE_SEGMENT = 20 * 2**20
OWN_SEGMENT = 10 * 2**20
SEGMENT_ROUND = 2 * 2**20
_ENDLESS = 2**62
_DEFAULT = AllocatorSettings()


class LimitReached(Exception):
    """A request for which the limit has no room, whatever is given back."""


@dataclass(eq=False, slots=True)
class Block:
    """A stretch of a segment; neighbours are blocks of the same segment.

    Attributes:
        place: the address in an expandable segment, else its number in the order of making.
        mapped: it has memory; an expandable segment ends in blocks that have none.
        cached_at: `_Pool.searches` when it was freed.
    """

    n_bytes: int
    place: int
    small: bool
    free: bool = True
    mapped: bool = True
    before: "Block | None" = None
    after: "Block | None" = None
    cached_at: int = 0

    @property
    def key(self) -> tuple[int, int]:
        return self.n_bytes, self.place

    @property
    def whole(self) -> bool:
        """Whether it is a segment of its own."""
        return self.before is None and self.after is None

    @property
    def growable_bytes(self) -> int:
        """With what lies behind it without memory."""
        after = self.after
        return self.n_bytes + (0 if after is None or after.mapped else after.n_bytes)


class _Pool:
    """Free blocks for small or for large requests: with memory by size, without by address."""

    def __init__(self, small: bool) -> None:
        self.cached: list[tuple[tuple[int, int], Block]] = []
        self.unmapped: list[Block] = []
        self.page = SMALL_SEGMENT if small else LARGE_SEGMENT
        self.searches = 0

    def add(self, block: Block) -> None:
        block.cached_at = self.searches
        bisect.insort(self.cached, (block.key, block), key=_key)

    def remove(self, block: Block) -> None:
        del self.cached[bisect.bisect_left(self.cached, block.key, key=_key)]

    def at_least(self, n_bytes: int) -> int:
        """Index of the smallest that holds so much."""
        return bisect.bisect_left(self.cached, (n_bytes, -1), key=_key)


def _key(item: tuple[tuple[int, int], Block]) -> tuple[int, int]:
    return item[0]


class CachingAllocator:
    """A request takes the smallest cached block that holds it, which is split if enough is left.

    Where there is none a segment is reserved: 2 MiB for requests up to 1 MiB, 20 MiB for those
    below 10 MiB, a multiple of 2 MiB beyond. Freed blocks join their free neighbours and stay
    reserved. Where a segment would pass the limit, all free segments are given back and it is
    tried again, which on a GPU waits for the device and is slow.

    Args:
        limit_bytes: as torch.cuda.set_per_process_memory_fraction sets it; None: none.
        settings: of PYTORCH_CUDA_ALLOC_CONF.

    Attributes:
        allocated_bytes, reserved_bytes: now.
        peak_allocated_bytes, peak_reserved_bytes: the most, as torch.cuda.max_memory_allocated and
            max_memory_reserved count them.
        flushes: how often free segments were given back to make room (torch's num_alloc_retries).
    """

    def __init__(
        self, limit_bytes: int | None = None, settings: AllocatorSettings = _DEFAULT
    ) -> None:
        self.allocated_bytes = self.peak_allocated_bytes = 0
        self.reserved_bytes = self.peak_reserved_bytes = self.flushes = 0
        self._limit_bytes = limit_bytes
        self._settings = settings
        self._pools = {small: _Pool(small) for small in (True, False)}
        self._made = 0
        if settings.expandable_segments:
            for small, pool in self._pools.items():
                pool.unmapped.append(Block(_ENDLESS, 0, small, mapped=False))

    def allocate(self, n_bytes: int) -> Block | None:
        """A block; None for a request of nothing, which takes none (`malloc`).

        Raises:
            LimitReached: if the limit has no room for it.
        """
        if n_bytes == 0:
            return None
        size = self._settings.rounded(n_bytes)
        block = self._take(size) or self._reserve(size)
        if self._is_split(block, size):
            self._split(block, size)
        block.free = False
        self.allocated_bytes += block.n_bytes
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        return block

    def release(self, block: Block | None) -> None:
        """Back into the cache (`free_block`)."""
        if block is None:
            return
        self.allocated_bytes -= block.n_bytes
        block.free = True
        self._merge_and_cache(block)

    def free_bytes(self) -> int:
        """Cached and not in use."""
        return sum(b.n_bytes for pool in self._pools.values() for _, b in pool.cached)

    def free_blocks(self) -> list[Block]:
        """Those that are cached."""
        return [block for pool in self._pools.values() for _, block in pool.cached]

    def _take(self, size: int) -> Block | None:
        """From the cache (`get_free_block`)."""
        pool = self._pools[size <= SMALL]
        pool.searches += 1
        cached, index = pool.cached, pool.at_least(size)
        if index == len(cached):
            return None
        if self._settings.expandable_segments:
            # A block that can grow counts as what it can grow to.
            while (
                index + 1 < len(cached)
                and not cached[index][1].whole
                and cached[index + 1][1].growable_bytes < cached[index][1].growable_bytes
            ):
                index += 1
        most, block = self._settings.max_split_size, cached[index][1]
        if most is not None:
            if size < most <= block.n_bytes:
                return None
            if size >= most and block.n_bytes >= size + self._settings.max_non_split_rounding:
                return None
        del cached[index]
        return block

    def _is_split(self, block: Block, size: int) -> bool:
        """`should_split`."""
        rest = block.n_bytes - size
        if block.small or self._settings.expandable_segments:
            return rest >= ROUND
        most = self._settings.max_split_size
        return rest > SMALL and (most is None or size < most)

    def _reserve(self, size: int) -> Block:
        """New memory, after what it takes of giving back (`malloc`, `alloc_block`)."""
        segment = segment_bytes(size)
        if self._limit_bytes is not None and self._settings.garbage_collection_threshold:
            self._collect_garbage(self._limit_bytes)
        if self._passes_limit(segment):
            if not self._release_oversized(size) or self._passes_limit(segment):
                self._release_all()
                self.flushes += 1
            if self._passes_limit(segment):
                raise LimitReached(f"{segment} bytes more than {self.reserved_bytes}")
        if self._settings.expandable_segments:
            return self._grow(size)
        self._now_reserved(segment)
        self._made += 1
        return Block(segment, self._made, size <= SMALL)

    def _passes_limit(self, more_bytes: int) -> bool:
        return self._limit_bytes is not None and (
            self.reserved_bytes + more_bytes > self._limit_bytes
        )

    def _now_reserved(self, more_bytes: int) -> None:
        self.reserved_bytes += more_bytes
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)

    def _split(self, block: Block, size: int) -> None:
        self._pools[block.small].add(self._cut(block, size))

    def _cut(self, block: Block, size: int) -> Block:
        """What is behind `size`, as a block of its own."""
        self._made += 1
        place = block.place + size if self._settings.expandable_segments else self._made
        rest = Block(block.n_bytes - size, place, block.small, mapped=block.mapped)
        block.n_bytes = size
        rest.before, rest.after = block, block.after
        if block.after is not None:
            block.after.before = rest
        block.after = rest
        return rest

    def _merge_and_cache(self, block: Block) -> None:
        pool = self._pools[block.small]
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.free and neighbour.mapped:
                pool.remove(neighbour)
                _join(block, neighbour)
        pool.add(block)

    def _release_segment(self, pool: _Pool, block: Block) -> None:
        """`release_block`."""
        pool.remove(block)
        self.reserved_bytes -= block.n_bytes

    def _release_all(self) -> None:
        """Every free segment, or every free page (`release_cached_blocks`)."""
        for pool in self._pools.values():
            for _, block in list(pool.cached):
                if self._settings.expandable_segments:
                    self._unmap(pool, block)
                elif block.whole:
                    self._release_segment(pool, block)

    def _release_oversized(self, size: int) -> bool:
        """Unsplit blocks, as many as make room (`release_available_cached_blocks`)."""
        most = self._settings.max_split_size
        if most is None or self._settings.expandable_segments:
            return False
        pool, wanted = self._pools[size <= SMALL], max(size, most)
        index = pool.at_least(wanted)
        if index < len(pool.cached):
            self._release_segment(pool, pool.cached[index][1])
            return True
        released = 0
        while released < wanted and pool.cached and pool.cached[-1][1].n_bytes >= most:
            block = pool.cached[-1][1]
            self._release_segment(pool, block)
            released += block.n_bytes
        return released >= wanted

    def _collect_garbage(self, limit_bytes: int) -> None:
        """Old free segments, once the threshold is passed (`garbage_collect_cached_blocks`)."""
        above = self.reserved_bytes - self._settings.garbage_collection_threshold * limit_bytes
        pool, reclaimed = self._pools[False], 0
        whole = [block for _, block in pool.cached if block.whole]
        while whole and reclaimed < above:
            mean_age = sum(pool.searches - block.cached_at for block in whole) / len(whole)
            old = [block for block in whole if pool.searches - block.cached_at >= mean_age]
            for block in old:
                self._release_segment(pool, block)
                reclaimed += block.n_bytes
            whole = [block for block in whole if block not in old]

    def _grow(self, size: int) -> Block:
        """The lowest free stretch of addresses, given memory (`try_allocate_expandable_block`)."""
        pool = self._pools[size <= SMALL]
        for start in pool.unmapped:
            block = start.before if start.before is not None and start.before.free else start
            if _free_from(block, size):
                break
        if not block.mapped:
            block = self._map(pool, block, size)
        while block.n_bytes < size:
            assert block.after is not None
            block = self._map(pool, block.after, size - block.n_bytes)
        pool.remove(block)
        return block

    def _map(self, pool: _Pool, block: Block, n_bytes: int) -> Block:
        """Memory for the block's beginning, in whole pages, joined with what is free beside it."""
        mapped = min(-(-n_bytes // pool.page) * pool.page, block.n_bytes)
        pool.unmapped.remove(block)
        if mapped < block.n_bytes:
            bisect.insort(pool.unmapped, self._cut(block, mapped), key=lambda b: b.place)
        block.mapped = True
        self._now_reserved(mapped)
        self._merge_and_cache(block)
        return block

    def _unmap(self, pool: _Pool, block: Block) -> None:
        """Gives back the whole pages within a free block (`unmap_block`)."""
        first = -(-block.place // pool.page) * pool.page
        end = (block.place + block.n_bytes) // pool.page * pool.page
        if first >= end:
            return
        pool.remove(block)
        self.reserved_bytes -= end - first
        if end < block.place + block.n_bytes:
            pool.add(self._cut(block, end - block.place))
        if first > block.place:
            rest = self._cut(block, first - block.place)
            pool.add(block)
            block = rest
        block.mapped = False
        for neighbour in (block.before, block.after):
            if neighbour is not None and not neighbour.mapped:
                pool.unmapped.remove(neighbour)
                _join(block, neighbour)
        bisect.insort(pool.unmapped, block, key=lambda b: b.place)


def segment_bytes(size: int) -> int:
    """Of a rounded request (`get_allocation_size`)."""
    if size <= SMALL:
        return SMALL_SEGMENT
    if size < OWN_SEGMENT:
        return LARGE_SEGMENT
    return -(-size // SEGMENT_ROUND) * SEGMENT_ROUND


def _join(block: Block, neighbour: Block) -> None:
    block.n_bytes += neighbour.n_bytes
    if neighbour is block.before:
        block.place = min(block.place, neighbour.place)
        block.before = neighbour.before
        if block.before is not None:
            block.before.after = block
    else:
        block.after = neighbour.after
        if block.after is not None:
            block.after.before = block


def _free_from(block: Block, size: int) -> bool:
    """Whether so many addresses are free from the block on."""
    n_bytes, at = 0, block
    while n_bytes < size and at is not None and at.free:
        n_bytes += at.n_bytes
        at = at.after  # type: ignore[assignment]
    return n_bytes >= size
