"""What runs that share a process must not hand on to each other."""

import gc

import torch

_FLAGS = (
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cuda.matmul, "fp32_precision"),
    (torch.backends.cudnn.conv, "fp32_precision"),  # type: ignore[attr-defined]
)


class ProcessState:
    """Torch's switches as they are now, to be put back after each run."""

    def __init__(self) -> None:
        self._flags = [(owner, name, getattr(owner, name)) for owner, name in _FLAGS]
        self._autocast_cache = torch.is_autocast_cache_enabled()

    def restore(self) -> None:
        """Puts them back, and gives memory that nothing holds any more back to the GPU.

        Raises:
            RuntimeError: if the GPU is lost to this process; a new process has it again.
        """
        for owner, name, value in self._flags:
            setattr(owner, name, value)
        torch.set_autocast_cache_enabled(self._autocast_cache)
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(1.0)
