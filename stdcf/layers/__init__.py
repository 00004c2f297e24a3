"""The STDCF layer, its execution plans, atoms, dilation and atom swapping."""

from stdcf.layers.dilation import set_dilation
from stdcf.layers.parts import parts_of
from stdcf.layers.stdcf_conv import STDCFConv3d

__all__ = ["STDCFConv3d", "parts_of", "set_dilation"]
