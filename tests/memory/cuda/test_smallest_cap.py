"""The allocator under a limit, by hand after CUDACachingAllocator.cpp, and the least limit."""

from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stdcf.errors import UserError
from stdcf.memory import predict_peak
from stdcf.memory.cuda.allocator_settings import AllocatorSettings
from stdcf.memory.cuda.caching_allocator import CachingAllocator, LimitReached
from stdcf.memory.cuda.smallest_cap import Requests, smallest_cap
from stdcf.memory.report import CONTEXT_BYTES, Fits
from stdcf.memory.tracking.lives import Life
from stdcf.models import create_model

MIB = 2**20
EXPANDABLE = AllocatorSettings(expandable_segments=True)


def test_under_pressure_free_segments_are_given_back_and_split_ones_are_not():
    allocator = CachingAllocator(60 * MIB)
    allocator.release(allocator.allocate(30 * MIB))
    half = allocator.allocate(4 * MIB)  # a part of the cached 30
    assert (allocator.reserved_bytes, allocator.flushes) == (30 * MIB, 0)
    allocator.allocate(28 * MIB)
    assert (allocator.reserved_bytes, allocator.flushes) == (58 * MIB, 0)
    with pytest.raises(LimitReached):  # the 30 are split
        allocator.allocate(27 * MIB)
    assert allocator.flushes == 1
    allocator.release(half)
    allocator.allocate(32 * MIB)
    assert (allocator.reserved_bytes, allocator.flushes) == (60 * MIB, 2)


def test_expandable_segments_grow_in_place():
    """4 + 4 MiB free side by side serve 8; what is split off has no least size."""
    allocator = CachingAllocator(settings=EXPANDABLE)
    first = allocator.allocate(12 * MIB)
    assert allocator.reserved_bytes == 20 * MIB  # pages of 20 MiB
    second = allocator.allocate(24 * MIB)  # the 8 that are left, and 20 more
    assert allocator.reserved_bytes == 40 * MIB
    allocator.release(first)
    allocator.release(second)
    allocator.allocate(40 * MIB)  # without them: two segments more
    assert allocator.reserved_bytes == 40 * MIB
    small = CachingAllocator(settings=EXPANDABLE)
    small.allocate(MIB)
    assert small.reserved_bytes == 2 * MIB


def test_expandable_segments_give_back_pages():
    allocator = CachingAllocator(80 * MIB, EXPANDABLE)
    freed, kept = allocator.allocate(30 * MIB), allocator.allocate(30 * MIB)
    assert (allocator.reserved_bytes, allocator.flushes) == (60 * MIB, 0)
    allocator.release(freed)
    # 30 to 60 are in use; of the free 0 to 30 the page 0 to 20 goes. Two new ones are behind 60.
    large = allocator.allocate(32 * MIB)
    assert (allocator.reserved_bytes, allocator.flushes) == (80 * MIB, 1)
    for block in (kept, large):
        allocator.release(block)
    assert allocator.free_bytes() == 80 * MIB


@pytest.mark.parametrize(
    ("text", "request_mib", "takes_mib"),
    [
        ("", 1200, 1200),
        # PyTorch's documentation: 1200 with 4 divisions becomes 1280.
        ("roundup_power2_divisions:4", 1200, 1280),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 1200, 1280),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 600, 768),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 300, 300),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 4100, 4608),
        ("roundup_power2_divisions:4", 1024, 1024),
    ],
)
def test_rounding_up(text, request_mib, takes_mib):
    assert AllocatorSettings.parse(text).rounded(request_mib * MIB) == takes_mib * MIB


def test_large_blocks_are_neither_split_nor_given_to_small_requests():
    allocator = CachingAllocator(settings=AllocatorSettings.parse("max_split_size_mb:32"))
    allocator.release(allocator.allocate(64 * MIB))
    allocator.allocate(4 * MIB)
    assert allocator.reserved_bytes == 84 * MIB
    allocator.allocate(50 * MIB)  # within 20 MiB of it: taken whole
    assert (allocator.reserved_bytes, allocator.allocated_bytes) == (84 * MIB, 68 * MIB)
    limited = CachingAllocator(100 * MIB, AllocatorSettings.parse("max_split_size_mb:32"))
    limited.release(limited.allocate(64 * MIB))
    limited.allocate(40 * MIB)  # too large a block: it goes, without a flush
    assert (limited.reserved_bytes, limited.flushes) == (40 * MIB, 0)


def test_garbage_is_collected_before_the_limit():
    settings = AllocatorSettings.parse("garbage_collection_threshold:0.6")
    allocator = CachingAllocator(100 * MIB, settings)
    old = allocator.allocate(40 * MIB)
    young = allocator.allocate(30 * MIB)
    allocator.release(old)
    allocator.allocate(25 * MIB)  # a part of `old`, which is split now
    allocator.release(young)
    allocator.allocate(31 * MIB)  # 70 reserved are above 60: `young` goes
    assert (allocator.reserved_bytes, allocator.flushes) == (71 * MIB + MIB, 0)


@pytest.mark.parametrize(
    "text",
    [
        *("max_split_size_mb:10", "max_split_size_mb", "garbage_collection_threshold:1.5"),
        *("roundup_power2_divisions:3", "roundup_power2_divisions:[300:2]", "speed:high"),
        *("expandable_segments:yes", "backend:cudaMallocAsync"),
    ],
)
def test_what_torch_refuses_is_refused_in_one_line(text):
    with pytest.raises(UserError, match="PYTORCH_CUDA_ALLOC_CONF") as refused:
        AllocatorSettings.parse(text)
    assert "\n" not in str(refused.value)


SETTINGS = st.sampled_from(
    [
        *("", "expandable_segments:True", "max_split_size_mb:20", "roundup_power2_divisions:8"),
        *("garbage_collection_threshold:0.5", "garbage_collection_threshold:0.9"),
    ]
).map(AllocatorSettings.parse)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2**25), st.integers(0, 2**16)), max_size=60),
    SETTINGS,
    st.integers(1, 100),
)
def test_laws_under_a_limit(moves, settings, limit_mib):
    """Never above the limit; what is reserved is in use or cached; no two blocks overlap."""
    allocator, held = CachingAllocator(limit_mib * MIB, settings), []
    for release, size, which in moves:
        if release and held:
            allocator.release(held.pop(which % len(held)))
        else:
            try:
                held.append(allocator.allocate(size))
            except LimitReached:
                # Nothing that could have been given back was left.
                if not settings.expandable_segments:
                    assert not any(block.whole for block in allocator.free_blocks())
        assert allocator.reserved_bytes <= limit_mib * MIB
        assert allocator.reserved_bytes % (2 * MIB) == 0
        assert allocator.allocated_bytes + allocator.free_bytes() == allocator.reserved_bytes
        if settings.expandable_segments:
            blocks = [b for b in [*held, *allocator.free_blocks()] if b is not None]
            for small in (True, False):
                ends = sorted((b.place, b.place + b.n_bytes) for b in blocks if b.small == small)
                assert all(a[1] <= b[0] for a, b in pairwise(ends))


def a_step(sizes):
    """Lives that overlap by three, some of them small, and one that stays."""
    lives = [Life(10 * MIB, "parameters", 0, "forward", 0)]
    return lives + [
        Life(size, None, t, "forward", 0, died=t + 3) for t, size in enumerate(sizes, start=1)
    ]


@given(st.lists(st.integers(1, 40 * MIB), min_size=1, max_size=40), SETTINGS)
def test_the_smallest_cap_runs_and_2_mib_less_does_not(sizes, settings):
    requests = Requests(a_step(sizes))
    least = smallest_cap(requests, settings)
    free = requests.replay(settings=settings)
    assert least.n_bytes >= free.peak_allocated_bytes
    assert least.n_bytes <= free.peak_reserved_bytes + 20 * MIB
    requests.replay(limit_bytes=least.n_bytes, settings=settings)
    if least.n_bytes - 2 * MIB >= free.peak_allocated_bytes:
        with pytest.raises(LimitReached):
            requests.replay(limit_bytes=least.n_bytes - 2 * MIB, settings=settings)


def test_what_the_first_step_keeps_lies_in_what_it_had_freed() -> None:
    """State is made after backward: in the block of an activation, which the next step misses."""
    activation = Life(30 * MIB, None, 1, "forward", 0, died=3)
    state = Life(12 * MIB, "optimizer_state", 0, "optimizer", 0, first_born=4)
    requests = Requests([activation, state])
    assert requests.replay(1).peak_reserved_bytes == 30 * MIB
    assert requests.replay(2).peak_reserved_bytes == 60 * MIB
    assert requests.replay(5).peak_reserved_bytes == 60 * MIB
    assert requests.replay(2).peak_allocated_bytes == 42 * MIB
    # Under a limit the free part of the split block stays reserved.
    assert smallest_cap(requests).n_bytes == 60 * MIB


def test_a_step_that_fragments_runs_in_less_by_giving_back():
    # 30 MiB, then 40, then 30 again: free of a limit nothing fits what was there before.
    lives = [
        Life(size * MIB, None, t, "forward", 0, died=t + 1)
        for t, size in enumerate((30, 40, 50), start=1)
    ]
    requests = Requests(lives)
    assert requests.replay().peak_reserved_bytes == 120 * MIB
    least = smallest_cap(requests)
    assert least.n_bytes == 50 * MIB
    assert least.flushes == 0  # the 50 MiB stay and serve all


def test_a_prediction_says_what_fits():
    report = predict_peak(
        partial(create_model, "kth_cnn", num_classes=6, in_channels=1), (16, 1, 16, 60, 80)
    )
    least, reserved = report.smallest_cap_bytes, report.reserved_bytes
    assert report.allocated_bytes <= least <= reserved
    assert report.fits(CONTEXT_BYTES + 2 * reserved) is Fits.YES
    assert report.fits(2 * reserved, context_bytes=0) is Fits.YES
    assert report.fits(round(1.06 * least), context_bytes=0) is Fits.FLUSHES
    assert report.fits(least, context_bytes=0) is Fits.TIGHT
    assert report.fits(least - 1, context_bytes=0) is Fits.NO
    on_cpu = predict_peak(
        partial(create_model, "kth_cnn", num_classes=6, in_channels=1),
        (16, 1, 16, 60, 80),
        device="cpu",
    )
    assert on_cpu.fits(on_cpu.peak_bytes) is Fits.YES
    assert on_cpu.fits(on_cpu.peak_bytes - 1) is Fits.NO
