"""A prediction as a GPU's own recording of memory, for pytorch.org/memory_viz."""

import pickle
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from stdcf.memory.cuda.allocator_settings import AllocatorSettings
from stdcf.memory.cuda.caching_allocator import Block
from stdcf.memory.cuda.smallest_cap import Requests
from stdcf.memory.cuda.traced_allocator import TracedAllocator
from stdcf.memory.timeline import Timeline
from stdcf.whole_file import write_atomically

# In the second the cache is filled, and the optimiser's state is there.
STEPS = 2


def snapshot(timeline: Timeline, alloc_conf: str = "") -> dict[str, Any]:
    """Two steps in CUDA's allocator, in the form of torch.cuda.memory._snapshot().

    Args:
        alloc_conf: PYTORCH_CUDA_ALLOC_CONF that the allocator follows.
    """
    allocator = TracedAllocator(AllocatorSettings.parse(alloc_conf))
    requests = Requests(timeline.lives)
    for life in requests.staying:
        allocator.hold(life)
    for step in range(STEPS):
        blocks: dict[int, Block | None] = {}
        for index, n_bytes in requests.events(step):
            if n_bytes is None:
                allocator.let_go(blocks.pop(index))
            else:
                blocks[index] = allocator.hold(requests.passing[index])
        for index, block in blocks.items():
            if index not in requests.kept:
                allocator.let_go(block)
    return allocator.snapshot()


def write_snapshot(timeline: Timeline, path: Path, alloc_conf: str = "") -> Path:
    """Writes it as torch.cuda.memory._dump_snapshot does; returns where.

    Raises:
        UserError: if the file cannot be written.
    """
    content = pickle.dumps(snapshot(timeline, alloc_conf))
    try:
        write_atomically(path.resolve(), content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; give another file") from error
    return path
