"""Tile sizes of the kernels, by pass, type and the number of atoms."""

import functools
import math
import os
from dataclasses import dataclass

import torch

from stdcf.layers.geometry import Geometry

# Pairs of atoms whose maps a program holds, and temporal atoms whose maps' gradients it does.
_PAIRS, _TEMPORAL = 6, 2
# Compute capability -> bytes of shared memory that a program may have.
SHARED_BYTES = {
    75: 64 * 1024,
    80: 163 * 1024,
    86: 99 * 1024,
    89: 99 * 1024,
    90: 227 * 1024,
    100: 227 * 1024,
}


@dataclass(frozen=True)
class Config:
    """How one kernel divides its work.

    Attributes:
        positions, inputs, outputs: of a tile; powers of two from 16 on.
        frames: output frames of a program.
        m_step, n_step: atoms of a step, over space and over time.
        warps, stages: Triton's num_warps and num_stages.
        registers: that a thread may have; None leaves it to ptxas, which sometimes spills a few so
            that two programs fit.
    """

    positions: int
    inputs: int
    outputs: int
    frames: int
    m_step: int
    n_step: int
    warps: int
    stages: int
    registers: int | None = None


def steps(m: int, n: int, pairs: int) -> tuple[int, int]:
    """M and N in few steps of nearly one size, of at most `pairs` pairs of atoms each."""
    n_step = math.ceil(n / math.ceil(n / pairs))
    most = max(pairs // n_step, 1)
    return math.ceil(m / math.ceil(m / most)), n_step


def block(channels: int, most: int) -> int:
    """The power of two from 16 to `most` that holds these channels, or the most."""
    return min(max(16, 1 << (channels - 1).bit_length()), most)


def card(device: torch.device) -> int:
    """A GPU's compute capability, such as 86; 0 where Triton interprets; of a GPU that is not

    here, 90.
    """
    if os.environ.get("TRITON_INTERPRET") == "1":
        return 0
    if device.type == "cuda" and torch.cuda.is_available():
        return _capability(device.index)
    return 90


@functools.cache
def _capability(index: int | None) -> int:
    major, minor = torch.cuda.get_device_capability(index)
    return 10 * major + minor


def choose(name: str, card: int, precision: str, g: Geometry) -> Config:
    """A kernel's configuration: the largest tiles for which no card's registers spill.

    Counted in the compiled kernels (tests/layers/cuda/test_compiled.py); no GPU was there to time
    them. What a thread holds is its share of the tiles of maps and of sums.

    Args:
        name: "convolve", "grad_mixing" or "grad_atoms".
        card: compute capability, 0 where Triton interprets.
        precision: of products, "ieee" where they run without tensor units.
    """
    m, n = steps(g.num_spatial_atoms, g.num_temporal_atoms, _PAIRS)
    if name == "grad_atoms":
        n = steps(1, g.num_temporal_atoms, _TEMPORAL)[1]
    if card == 0:
        return Config(64, 16, 16, 2, m, n, 4, 1)
    if name == "grad_atoms":
        # Two tiles of each frame that a filter sees; Turing's products take more registers.
        short, turing = g.kernel_size[0] <= 3, card < 80
        positions, warps = 64 if short or not turing else 32, 4 if short and not turing else 8
        return Config(positions, 16, block(g.group_out, 64), 1, m, n, warps, 1)
    outputs = block(g.group_out, 64 if precision == "ieee" or card < 80 else 128)
    in_steps = (m, n) != (g.num_spatial_atoms, g.num_temporal_atoms)
    spills = in_steps or (precision == "ieee" and name == "grad_mixing")
    registers = 255 if spills else None
    return Config(64 if name == "convolve" else 32, 16, outputs, 1, m, n, 8, 1, registers)
