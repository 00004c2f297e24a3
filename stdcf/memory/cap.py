"""Holding a whole process on a GPU to a cap, and saying where memory ran out.

On CPU the cap is held by `LifeTracker`, step by step; see `meter.StepMeter`.
"""

import traceback
from pathlib import Path
from typing import Any

import torch

from stdcf.errors import UserError
from stdcf.memory.report import MIB

_SNAPSHOT_ENTRIES = 100_000


def limit_gpu(device: torch.device, cap_bytes: int) -> None:
    """Lets this process use no more of a GPU than the cap: reserved memory and CUDA's context.

    What the card has in use once the context exists, by whomever, is taken off the cap; the rest is
    the caching allocator's limit. What was allocated when is recorded, for `save_snapshot`.

    Raises:
        UserError: if the context alone is larger than the cap.
    """
    torch.zeros(1, device=device)
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    context_bytes = total_bytes - free_bytes - torch.cuda.memory_reserved(device)
    left_bytes = cap_bytes - context_bytes
    if left_bytes <= 0:
        raise UserError(
            f"a cap of {cap_bytes / MIB:,.0f} MiB leaves nothing on {device}: "
            f"{context_bytes / MIB:,.0f} MiB are in use by CUDA's context and other programs; "
            "give a larger cap"
        )
    torch.cuda.set_per_process_memory_fraction(min(left_bytes / total_bytes, 1.0), device)
    torch.cuda.memory._record_memory_history(max_entries=_SNAPSHOT_ENTRIES)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, CUDA's or the CPU's, had no memory left."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in str(error) or "not enough memory" in str(error)
    )


def out_of_memory_fields(error: BaseException) -> dict[str, Any]:
    """A row's fields: where memory ran out and, on a GPU, how much was in use."""
    fields: dict[str, Any] = {"peak_place": place_of(error)}
    if isinstance(error, torch.OutOfMemoryError):
        fields |= {
            "measured_peak_bytes": torch.cuda.max_memory_allocated(),
            "measured_reserved_bytes": torch.cuda.max_memory_reserved(),
            "measured_by": "cuda_allocated",
        }
    return fields


def save_snapshot(path: Path) -> None:
    """Writes what the CUDA allocator holds and how it came to it, for pytorch.org/memory_viz."""
    torch.cuda.memory._dump_snapshot(str(path))


def place_of(error: BaseException) -> str:
    """The innermost line that is not torch's own, as "stdcf/models/kth_cnn.py:55 in forward"."""
    inside = str(Path(torch.__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(inside)]
    if not own:
        return ""
    last = own[-1]
    return f"{'/'.join(Path(last.filename).parts[-3:])}:{last.lineno} in {last.name}"
