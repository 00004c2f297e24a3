"""Convolution layers beside STDCF, each with nn.Conv3d's constructor."""

from baselines.layers.rank1 import Rank1Conv3d

__all__ = ["Rank1Conv3d"]
