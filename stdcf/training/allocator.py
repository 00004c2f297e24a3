"""How torch takes its memory from the system on CPU."""

import os


def use_huge_pages() -> None:
    """Asks torch for transparent huge pages; to be called before the first tensor is made.

    Every large feature map is a fresh mapping whose pages fault in anew at each step. With pages of
    2 MiB instead of 4 KiB kth_cnn's training step on CPU took half the time, in the same memory.
    Where the kernel has none, nothing changes.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
