"""The caching allocator with addresses, and a trace of what it did."""

from typing import Any

from stdcf.memory.cuda.allocator_settings import AllocatorSettings
from stdcf.memory.cuda.caching_allocator import SMALL_SEGMENT, Block, CachingAllocator, _Pool
from stdcf.memory.tracking.lives import Life

# Where CUDA's addresses usually begin; expandable segments of small and large requests lie apart.
_FIRST = 0x7F0000000000
_APART = 2**44


class TracedAllocator(CachingAllocator):
    """Notes what torch's own recorder notes: allocations, frees and segments, with addresses.

    Attributes:
        trace: entries as in torch.cuda.memory._snapshot()["device_traces"].
    """

    def __init__(self, settings: AllocatorSettings) -> None:
        super().__init__(None, settings)
        self.trace: list[dict[str, Any]] = []
        self._expandable = settings.expandable_segments
        # Place of a segment's first block -> (address, bytes).
        self._segments: dict[int, tuple[int, int]] = {}
        self._next = _FIRST
        # Block -> what it holds.
        self._held: dict[int, tuple[Block, Life]] = {}
        self._frames: list[dict[str, Any]] = []

    def hold(self, life: Life) -> Block | None:
        """Allocates for a storage."""
        self._frames = frames_of(life)
        block = self.allocate(life.n_bytes)
        if block is not None:
            self._held[id(block)] = block, life
            self._note("alloc", self._address(block), life.n_bytes, life)
        return block

    def let_go(self, block: Block | None) -> None:
        """Frees what `hold` gave."""
        if block is None:
            return
        _, life = self._held.pop(id(block))
        self._frames = frames_of(life)
        for action in ("free_requested", "free_completed"):
            self._note(action, self._address(block), life.n_bytes, life)
        self.release(block)

    def snapshot(self) -> dict[str, Any]:
        """What is allocated and cached now, in the form of torch.cuda.memory._snapshot()."""
        return {
            "segments": [self._segment(head) for head in self._heads()],
            "device_traces": [self.trace],
            "allocator_settings": {"expandable_segments": self._expandable},
            "external_annotations": [],
        }

    def _heads(self) -> list[Block]:
        """The first blocks with memory of all segments, by address."""
        blocks = [block for block, _ in self._held.values()] + self.free_blocks()
        heads = {}
        for block in blocks:
            while block.before is not None and block.before.mapped:
                block = block.before
            heads[id(block)] = block
        return sorted(heads.values(), key=self._address)

    def _segment(self, head: Block) -> dict[str, Any]:
        blocks, at = [], head
        while at is not None and at.mapped:
            blocks.append(at)
            at = at.after  # type: ignore[assignment]
        described = [self._block(block) for block in blocks]
        return {
            "device": 0,
            "address": self._address(head),
            "total_size": sum(block.n_bytes for block in blocks),
            "allocated_size": sum(b["size"] for b in described if b["state"] != "inactive"),
            "active_size": sum(b["size"] for b in described if b["state"] != "inactive"),
            "requested_size": sum(b["requested_size"] for b in described),
            "stream": 0,
            "segment_type": "small" if head.small else "large",
            "segment_pool_id": (0, 0),
            "is_expandable": self._expandable,
            "frames": [],
            "blocks": described,
        }

    def _block(self, block: Block) -> dict[str, Any]:
        _, life = self._held.get(id(block), (block, None))
        return {
            "address": self._address(block),
            "size": block.n_bytes,
            "requested_size": 0 if life is None else life.n_bytes,
            "state": "inactive" if life is None else "active_allocated",
            "frames": [] if life is None else frames_of(life),
        }

    def _address(self, block: Block) -> int:
        if self._expandable:
            return _FIRST + _APART * block.small + block.place
        offset, head = 0, block
        while head.before is not None:
            head = head.before
            offset += head.n_bytes
        return self._segments[head.place][0] + offset

    def _note(self, action: str, address: int, n_bytes: int, life: Life | None = None) -> None:
        entry: dict[str, Any] = {
            "action": action,
            "addr": address,
            "size": n_bytes,
            "stream": 0,
            "time_us": len(self.trace),
            "frames": self._frames,
        }
        if life is not None:
            entry["category"] = life.final_category()
        self.trace.append(entry)

    def _reserve(self, size: int) -> Block:
        block = super()._reserve(size)
        if not self._expandable:
            # Blocks that are joined keep the place of the first.
            self._segments[block.place] = self._next, block.n_bytes
            self._note("segment_alloc", self._next, block.n_bytes)
            self._next += -(-block.n_bytes // SMALL_SEGMENT) * SMALL_SEGMENT
        return block

    def _release_segment(self, pool: _Pool, block: Block) -> None:
        self._note("segment_free", self._address(block), block.n_bytes)
        super()._release_segment(pool, block)

    def _map(self, pool: _Pool, block: Block, n_bytes: int) -> Block:
        before_bytes, address = self.reserved_bytes, self._address(block)
        joined = super()._map(pool, block, n_bytes)
        self._note("segment_map", address, self.reserved_bytes - before_bytes)
        return joined


def frames_of(life: Life) -> list[dict[str, Any]]:
    """A stack for a storage, the innermost first: operator in its module, modules around it, phase.

    They stand as a frame's function and file; there are no lines.
    """
    names = life.module.split(".") if life.module else []
    places = [".".join(names[:depth]) for depth in range(len(names), 0, -1)]
    what = life.name or life.operator or life.final_category()
    around = [{"name": life.final_category(), "filename": place} for place in places[1:]]
    first = {"name": what, "filename": places[0] if places else life.final_category()}
    last = {"name": life.born_in if life.born else "before", "filename": "step"}
    return [{**frame, "line": 0} for frame in (first, *around, last)]
