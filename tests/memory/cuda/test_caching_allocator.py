"""Against PyTorch's documented rules, worked out by hand, and laws that any allocator keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdcf.memory.cuda.caching_allocator import CachingAllocator
from stdcf.memory.cuda.smallest_cap import Requests
from stdcf.memory.tracking.lives import Life

MIB = 2**20


@pytest.mark.parametrize(
    ("request_bytes", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        # Above 1 MiB: segments of 20 MiB, then of their own in steps of 2 MiB.
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (21 * MIB, 22 * MIB, 22 * MIB),
        # What is left of a large block is split off only if it is more than 1 MiB.
        (20 * MIB + 512, 20 * MIB + 512, 22 * MIB),
    ],
)
def test_one_request(request_bytes, allocated, reserved):
    allocator = CachingAllocator()
    allocator.allocate(request_bytes)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (allocated, reserved)


def test_nothing_takes_nothing():
    allocator = CachingAllocator()
    allocator.release(allocator.allocate(0))
    assert allocator.reserved_bytes == 0


def test_the_smallest_cached_block_that_holds_it_is_taken():
    allocator = CachingAllocator()
    large, small = allocator.allocate(40 * MIB), allocator.allocate(30 * MIB)
    allocator.release(large)
    allocator.release(small)
    assert allocator.allocate(30 * MIB) is small
    assert allocator.reserved_bytes == 70 * MIB


def test_neighbours_join_and_fragments_do_not():
    allocator = CachingAllocator()
    blocks = [allocator.allocate(4 * MIB) for _ in range(5)]  # one segment of 20 MiB
    assert allocator.reserved_bytes == 20 * MIB
    for index in (0, 2):
        allocator.release(blocks[index])
    allocator.allocate(8 * MIB)  # 8 MiB are free, in two pieces
    assert allocator.reserved_bytes == 40 * MIB
    allocator.release(blocks[1])
    allocator.allocate(12 * MIB)  # three neighbours have become one
    assert allocator.reserved_bytes == 40 * MIB


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2**25), st.integers(0, 2**16)), max_size=60)
)
def test_laws(moves):
    """Blocks hold their requests, in multiples of 512, within what is reserved; none is lost."""
    allocator = CachingAllocator()
    held = []
    for release, size, which in moves:
        if release and held:
            allocator.release(held.pop(which % len(held))[1])
        else:
            held.append((size, allocator.allocate(size)))
        blocks = [block for _, block in held if block is not None]
        assert all(b.n_bytes >= n and b.n_bytes % 512 == 0 for n, b in held if b is not None)
        assert len({id(block) for block in blocks}) == len(blocks)
        assert allocator.allocated_bytes == sum(block.n_bytes for block in blocks)
        assert allocator.allocated_bytes + allocator.free_bytes() == allocator.reserved_bytes
    for _, block in held:
        allocator.release(block)
    assert all(block.whole for block in allocator.free_blocks())


def test_a_second_step_reserves_nothing_new():
    lives = [Life(10 * MIB, "parameters", 0, "forward", 0)]
    lives += [Life(7 * MIB, None, t, "forward", 0, died=t + 3) for t in range(1, 40)]
    once, often = Requests(lives).replay(1), Requests(lives).replay(5)
    assert once.reserved_bytes == often.reserved_bytes
    # Three of 7 MiB are alive at once; two fit a segment of 20 MiB.
    assert once.peak_allocated_bytes == 10 * MIB + 21 * MIB
    assert once.reserved_bytes == 10 * MIB + 40 * MIB


def test_what_lies_on_the_host_is_not_the_gpus():
    lives = [Life(50 * MIB, None, 1, "forward", 0, on_host=True, died=9)]
    assert Requests(lives).replay().reserved_bytes == 0
