"""STDCF, a 3D convolution decomposed over space and time, and training in little memory.

Miao, Wang, Cheng and Qiu, "Spatiotemporal Joint Filter Decomposition in 3D Convolutional Neural
Networks", NeurIPS 2021.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stdcf.convert import decompose, fuse
    from stdcf.layers import STDCFConv3d, set_dilation

__all__ = ["STDCFConv3d", "decompose", "fuse", "set_dilation"]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import, and the commands that only read results never need it.
    if name in __all__:
        from stdcf import convert, layers

        return getattr(layers if hasattr(layers, name) else convert, name)
    raise AttributeError(f"module 'stdcf' has no attribute {name!r}")
