"""Whether the GPU's kernel can be had: Triton comes with torch, and is imported when first used."""

import functools
import importlib.util
import os

import torch

# Turing: the first that Triton compiles for with tensor units as the kernels use them.
_OLDEST = 75


@functools.cache
def problem() -> str | None:
    """Why there is no kernel for GPUs, in one line; None if there is one.

    $STDCF_KERNEL=0 does without it. Where no GPU is present it is answered for a recent one.
    """
    if os.environ.get("STDCF_KERNEL") == "0":
        return "switched off by STDCF_KERNEL=0"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; torch's packages for CUDA bring it along"
    if torch.version.hip is not None:
        return "it is written for NVIDIA's GPUs"
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        if 10 * major + minor < _OLDEST:
            return f"compute capability {major}.{minor}; the kernel needs 7.5"
    return None
