"""Tensors of an optimiser's state in 8 bits, by torchao."""

import warnings
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stdcf.errors import UserError
from stdcf.layers.layout import is_dense

# Values that share a scale, and the fewest that are worth it (Dettmers et al. 2022).
BLOCK, MIN_VALUES = 256, 4096
# State that is never negative, of torch's optimisers; its 8 bits need no sign.
_UNSIGNED = frozenset({"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta"})
# Values at once, or a sixteenth of all: what stands between float and byte takes 12 times a float.
_PART = 2**16


class Library(NamedTuple):
    """The parts of torchao that are used."""

    quantiser: ModuleType
    holder: Any
    signed: tuple[float, ...]
    unsigned: tuple[float, ...]


@cache
def library() -> Library:
    """torchao's 8-bit states; once imported, files of them can be read.

    Raises:
        UserError: where it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Of its own imports.
            warnings.simplefilter("ignore")
            quantiser = import_module("torchao.optim.quant_utils")
            subclass = import_module("torchao.optim.subclass_8bit")
    except ImportError as error:
        raise UserError(
            f"saver state8bit needs torchao ({error}): pip install torchao, or leave state8bit out"
        ) from error
    signed, unsigned = subclass.get_qmap_signed(), subclass.get_qmap_unsigned()
    return Library(quantiser, subclass.OptimState8bit, signed, unsigned)


def can_round(value: Any) -> bool:
    """Whether a state is worth 8 bits: floats enough, in whole blocks, side by side in memory."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.numel() >= MIN_VALUES
        and value.numel() % BLOCK == 0
        and is_dense(value)
    )


def is_rounded(value: Any) -> bool:
    """Whether `rounded` made it."""
    return type(value).__name__ == "OptimState8bit"


def rounded(value: Tensor, name: str, before: Any = None) -> Tensor:
    """A state in 8 bits, its values in the order of memory, [N].

    Each is the nearest of 256, which lie densest around 0, times its block's largest (dynamic
    quantisation), but for one thing: a second moment that is not 0 never becomes 0, by whose root
    Adam would divide a first moment that is not.

    Args:
        name: the state's in the optimiser.
        before: an earlier one of the same size, which is written over.
    """
    found = library()
    unsigned = name in _UNSIGNED
    state = before
    if state is None:
        codes_N = torch.empty(value.numel(), dtype=torch.uint8, device=value.device)
        scales = torch.empty(value.numel() // BLOCK, device=value.device)
        values = torch.tensor(found.unsigned if unsigned else found.signed, device=value.device)
        state = found.holder(codes_N, scales, values, not unsigned, dtype=value.dtype)
    flat_N = value.as_strided((value.numel(),), (1,)).float()
    for part, blocks in _parts(len(flat_N)):
        scaled, state.scale[blocks] = found.quantiser.scale_tensor(flat_N[part], BLOCK)
        codes = found.quantiser.quantize_8bit_with_qmap(scaled, state.qmap)
        # Code 0 is the value 0 where there is no sign.
        state.codes[part] = torch.maximum(codes, scaled > 0) if unsigned else codes
    made: Tensor = state
    return made


def whole(state: Any, like: Tensor) -> Tensor:
    """The values of a rounded state, in the shape and layout of its parameter."""
    dequantise = library().quantiser.dequant_with_qmap
    value = torch.empty_like(like, dtype=state.dtype)
    flat_N = value.as_strided((value.numel(),), (1,))
    for part, blocks in _parts(len(flat_N)):
        flat_N[part] = dequantise(state.codes[part], state.qmap, state.scale[blocks])
    return value


def _parts(n: int) -> Iterator[tuple[slice, slice]]:
    """Of the values, and of the blocks that they are."""
    size = max(_PART, -(-n // 16 // BLOCK) * BLOCK)
    for start in range(0, n, size):
        yield slice(start, start + size), slice(start // BLOCK, (start + size) // BLOCK)
