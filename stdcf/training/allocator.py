"""The C library's allocator, told to keep what a training step frees."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Makes glibc reuse freed memory instead of returning it to the system; True if it took effect.

    By default every feature map above 32 MiB is a fresh mapping whose pages fault in anew at each
    step. Reusing them made kth_cnn's training step on CPU 1.7 to 2 times as fast. To be called
    before the first large tensor. Without glibc nothing happens.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
