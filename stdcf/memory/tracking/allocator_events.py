"""The CPU allocator's own account of a piece of work."""

import os
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def allocator_peak(work: Callable[[], object]) -> int:
    """The most bytes that `work` had allocated at once, by the CPU allocator's events.

    Unlike `LifeTracker` it sees what operators allocate within themselves, and nothing of what was
    there before.
    """
    # Else the profiler's library writes lines of its own to stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as run:
        work()
    results = run.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    current = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        current += event.nbytes()
        peak = max(peak, current)
    return peak
