"""Compiles a kernel for a card that is not there, as a call on the card would, and reads the

compiled code's use of registers, stack and shared memory.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from stdcf.layers.cuda import kernels, launch
from stdcf.layers.geometry import Geometry

_CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
_TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
_OPTIONS = ("num_warps", "num_stages", "maxnreg")
_SUMS = ("spatial", "temporal", "sums", "spatial_sums", "temporal_sums")


@dataclass(frozen=True)
class Resources:
    """Of a compiled kernel; bytes of stack and local memory are those of spilled registers."""

    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int


def resources(
    name: str, card: int, g: Geometry, dtype_name: str, last: bool, folder: Path
) -> Resources:
    """What a kernel takes on a card.

    Args:
        name: "convolve", "grad_mixing" or "grad_atoms".
        dtype_name: "tf32", or of a type; "float32" is multiplied without TF32.
    """
    dtype = getattr(torch, dtype_name.replace("tf32", "float32"))
    precision = "tf32" if dtype_name == "tf32" else "ieee"
    layout = torch.channels_last_3d if last else torch.contiguous_format
    x = torch.empty(g.input_shape, dtype=dtype, device="meta", memory_format=layout)
    y = torch.empty(g.output_shape, dtype=dtype, device="meta", memory_format=layout)
    with (
        patch.object(launch, "card", lambda device: card),
        patch.object(launch, "_conv_precision", lambda: precision),
    ):
        config = launch.config_of(name, g, x)
        constants = launch._constants(g, x, config)
    options = {key: constants.pop(key) for key in _OPTIONS if key in constants}
    if name == "convolve":
        constants["HAS_BIAS"] = True
    if name != "grad_atoms":
        constants["M_STEP"] = config.m_step
    kernel = getattr(kernels, name)
    first = kernel.arg_names.index("x_b")
    values = launch._sizes(g, x, y)
    sizes = dict(zip(kernel.arg_names[first : first + len(values)], values, strict=True))
    signature, given, divisible = {}, {}, {}
    for index, argument in enumerate(kernel.arg_names):
        special = not kernel.params[index].do_not_specialize
        if argument in constants or (special and sizes.get(argument) == 1):
            # Of special sizes Triton compiles 1 in, and notes which are multiples of 16.
            signature[argument], given[argument] = "constexpr", constants.get(argument, 1)
            continue
        pointer = argument not in sizes and argument != "tiles_each"
        signature[argument] = "i32"
        if pointer:
            signature[argument] = "*fp32" if argument in _SUMS else _TYPES[dtype]
        if pointer or (special and sizes.get(argument, 1) % 16 == 0):
            divisible[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature=signature, constexprs=given, attrs=divisible)
    compiled = triton.compile(source, target=GPUTarget("cuda", card, 32), options=options)
    cubin = folder / f"{name}.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    told = subprocess.run(
        [str(_CUOBJDUMP), "-res-usage", str(cubin)], capture_output=True, text=True, check=True
    ).stdout
    found = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", told)}
    return Resources(found["REG"], found["STACK"], found["LOCAL"], compiled.metadata.shared)
