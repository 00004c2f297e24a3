"""Every configuration compiled for six generations of cards: no spills, shared memory in limits.

Needs no GPU. $STDCF_KERNEL_CARDS=all takes every type, layout and shape for each kernel and card,
which is some minutes; else each kernel is compiled once for each card.
"""

import os
from itertools import product
from pathlib import Path

import pytest

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("Triton interprets, and compiles nothing", allow_module_level=True)

from stdcf.layers.cuda.configs import SHARED_BYTES
from stdcf.layers.geometry import Geometry
from tests.layers.cuda.compiling import resources

KERNELS = ("convolve", "grad_mixing", "grad_atoms")
# Channels of ResNet-50's four stages, a stem with the largest filter, other atoms.
SHAPES = {
    "resnet": Geometry(
        (8, 128, 8, 28, 28), 128, (3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1), 1, 3, 2
    ),
    "narrow": Geometry((8, 64, 8, 56, 56), 64, (3, 3, 3), (1, 2, 2), (1, 1, 1), (1, 1, 1), 1, 3, 2),
    "stem": Geometry((8, 3, 16, 56, 56), 64, (5, 7, 7), (1, 2, 2), (2, 3, 3), (1, 1, 1), 1, 3, 2),
    "many atoms": Geometry(
        (8, 128, 8, 28, 28), 128, (3, 3, 3), (1, 1, 1), (2, 1, 1), (2, 1, 1), 1, 6, 3
    ),
    "one atom": Geometry(
        (8, 128, 8, 28, 28), 128, (1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1), 1, 1, 1
    ),
}
WAYS = list(product(("tf32", "bfloat16", "float32"), (True, False)))
CASES = [
    (name, card, "resnet", *WAYS[(number + turn) % len(WAYS)])
    for turn, name in enumerate(KERNELS)
    for number, card in enumerate(SHARED_BYTES)
]
if os.environ.get("STDCF_KERNEL_CARDS") == "all":
    CASES = [
        (name, card, shape, *way)
        for name, card, shape, way in product(KERNELS, SHARED_BYTES, SHAPES, WAYS)
    ]


@pytest.mark.parametrize(("name", "card", "shape", "dtype", "last"), CASES)
def test_no_spills_and_shared_memory_within_the_cards(
    name: str, card: int, shape: str, dtype: str, last: bool, tmp_path: Path
) -> None:
    if card == 75 and dtype == "bfloat16":
        # Turing has none.
        dtype = "float16"
    found = resources(name, card, SHAPES[shape], dtype, last, tmp_path)
    print(name, card, shape, dtype, "last" if last else "first", found)
    assert found.stack_bytes == found.local_bytes == 0, found
    assert 0 < found.shared_bytes <= SHARED_BYTES[card], found
