"""PYTORCH_CUDA_ALLOC_CONF, read as c10/core/AllocatorConfig.cpp reads it."""

import re
from dataclasses import dataclass
from typing import Any

from stdcf.errors import UserError

MIB = 2**20
ROUND = 512
_INTERVALS = 16  # of powers of two, from 1 MiB on
_LEAST_SPLIT_MIB = 20
# They change no number of bytes here: what is pinned, locked or traced.
_WITHOUT_EFFECT = frozenset(
    {
        *("release_lock_on_cudamalloc", "pinned_use_cuda_host_register"),
        *("pinned_num_register_threads", "pinned_use_background_threads"),
        *("pinned_reserve_segment_size_mb", "graph_capture_record_stream_reuse"),
    }
)


@dataclass(frozen=True)
class AllocatorSettings:
    """What decides how the caching allocator takes and gives back memory.

    Attributes:
        expandable_segments: segments grow and shrink in place, by pages.
        max_split_size: larger blocks are neither split nor taken for smaller requests; None: any
            block is split.
        max_non_split_rounding: by how much such a block may be larger than a request.
        garbage_collection_threshold: part of the limit above which old cached blocks are given
            back before more is reserved; 0: never.
        roundup_power2_divisions: by the power of two of a request, from 1 MiB on, into how many
            parts the way to the next power is divided; requests are rounded up to them.
    """

    expandable_segments: bool = False
    max_split_size: int | None = None
    max_non_split_rounding: int = 20 * MIB
    garbage_collection_threshold: float = 0.0
    roundup_power2_divisions: tuple[int, ...] = (0,) * _INTERVALS

    @classmethod
    def parse(cls, text: str) -> "AllocatorSettings":
        """Of the environment variable's text; "" gives the default.

        Raises:
            UserError: for what torch would refuse, and for the backend cudaMallocAsync, which is
                another allocator.
        """
        found: dict[str, Any] = {}
        # Commas within [...] stand between intervals.
        for part in re.split(r",(?![^\[]*\])", text.replace(" ", "")) if text.strip() else ():
            key, colon, value = part.partition(":")
            if not colon or not value:
                raise _refusal(part, "write name:value, with commas between")
            if key == "backend":
                if value != "native":
                    raise _refusal(part, "only the native backend is modelled")
            elif key == "expandable_segments":
                if value not in ("True", "False"):
                    raise _refusal(part, "it is True or False")
                found[key] = value == "True"
            elif key in ("max_split_size_mb", "max_non_split_rounding_mb"):
                n_bytes = _number(part, value) * MIB
                if n_bytes < _LEAST_SPLIT_MIB * MIB:
                    raise _refusal(part, f"it must be at least {_LEAST_SPLIT_MIB}")
                found[key.removesuffix("_mb")] = n_bytes
            elif key == "garbage_collection_threshold":
                found[key] = _share(part, value)
            elif key == "roundup_power2_divisions":
                found[key] = _divisions(part, value)
            elif key not in _WITHOUT_EFFECT:
                raise _refusal(part, "there is no such option")
        return cls(**found)

    def rounded(self, n_bytes: int) -> int:
        """How many bytes a request takes (`round_size`)."""
        size = max(n_bytes, 1)
        index = min(max(size.bit_length() - 21, 0), _INTERVALS - 1)
        parts = self.roundup_power2_divisions[index]
        if parts > 1 and size > ROUND * parts:
            # Up to the next of the equal parts between two powers (`roundup_power2_next_division`).
            floor = 1 << (size.bit_length() - 1)
            step = floor // parts
            return -(-size // step) * step
        return -(-size // ROUND) * ROUND


def _refusal(part: str, why: str) -> UserError:
    return UserError(f"PYTORCH_CUDA_ALLOC_CONF: {part!r} cannot be read: {why}")


def _number(part: str, value: str) -> int:
    if not value.isdecimal():
        raise _refusal(part, "it must be a whole number")
    return int(value)


def _share(part: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise _refusal(part, "it must lie between 0 and 1")
    return share


def _divisions(part: str, value: str) -> tuple[int, ...]:
    """One number for all, or [256:1,512:2,>:4]: by the power of two in MiB, ">" from the last on.

    What stands before the first power has its number, gaps between powers have none.
    """
    if not value.startswith("["):
        return (_power(part, value),) * _INTERVALS
    found = [0] * _INTERVALS
    last = None
    for interval in value.strip("[]").split(","):
        name, _, number = interval.partition(":")
        parts = _power(part, number, or_zero=True)
        if name == ">":
            found[last or 0 :] = [parts] * (_INTERVALS - (last or 0))
            continue
        index = min(_power(part, name).bit_length() - 1, _INTERVALS - 1)
        if last is None:
            found[:index] = [parts] * index
        found[index] = parts
        last = index
    return tuple(found)


def _power(part: str, text: str, or_zero: bool = False) -> int:
    number = _number(part, text)
    if number & (number - 1) or (number == 0 and not or_zero):
        raise _refusal(part, "its numbers must be powers of two")
    return number
