"""One set of atoms for all STDCF layers of a network."""

import torch
from torch import nn

from stdcf.layers.atoms import energy
from stdcf.layers.stdcf_conv import STDCFConv3d


def share_atoms(model: nn.Module) -> list[str]:
    """Gives every STDCFConv3d of a model the atoms of the first, in place.

    The paper's atoms are each layer's own (§2.1); here a layer keeps its coefficients alone, scaled
    so that its filter has the variance that it had. Biases stay.

    Returns:
        The names of the layers.

    Raises:
        ValueError: if there are fewer than two, or their atoms differ in number or size.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, STDCFConv3d)}
    if len(layers) < 2:
        raise ValueError(
            f"atoms are shared by at least 2 STDCF layers, and there are {len(layers)}"
        )
    first, *others = layers.values()
    shapes = (first.spatial_atoms.shape, first.temporal_atoms.shape)
    for name, layer in layers.items():
        if (layer.spatial_atoms.shape, layer.temporal_atoms.shape) != shapes:
            raise ValueError(f"{name} has atoms of another number or size than the first layer")
    for layer in others:
        before = energy(layer.spatial_atoms, layer.temporal_atoms)
        layer.spatial_atoms, layer.temporal_atoms = first.spatial_atoms, first.temporal_atoms
        with torch.no_grad():
            after = energy(layer.spatial_atoms, layer.temporal_atoms)
            layer.coefficients.mul_((before / after).sqrt())
    return list(layers)
