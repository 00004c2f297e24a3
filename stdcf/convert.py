"""Dense 3D convolutions to STDCF and back."""

import copy
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from stdcf.layers import STDCFConv3d
from stdcf.layers.dense import is_complex, other_filter, other_forward, tensors_of, tied_parameters
from stdcf.layers.fit import fit_atoms

FILTERS = ("spatial_atoms", "temporal_atoms", "coefficients")


class Errors(dict[str, float]):
    """Relative errors by a layer's name.

    Attributes:
        skipped: convolutions that stayed as they were, and why; they are no items, and their error
            is 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}

    def __missing__(self, name: str) -> float:
        if name in self.skipped:
            return 0.0
        raise KeyError(name)


def decompose(
    module: nn.Module,
    num_spatial_atoms: int | None = None,
    num_temporal_atoms: int | None = None,
    skip: Iterable[str] = (),
) -> tuple[nn.Module, dict[str, float]]:
    """Replaces dense 3D convolutions by STDCF layers, each the best fit in least squares.

    Takes nn.Conv3d with kT > 1 and kH·kW > 1, and its subclasses that compute what it computes.
    Everything else stays: convolutions with a forward, a padding or a computed filter of their own,
    complex ones, and those whose hooks or tied parameters would be lost. The input is untouched.

    Args:
        num_spatial_atoms: M; None is full rank (exact). Capped per layer at kH·kW.
        num_temporal_atoms: N; None is full rank (exact). Capped per layer at kT.
        skip: names of modules, as in ``named_modules``, that stay with all that is inside them.

    Returns:
        The new module, and the relative error ‖W − W'‖ / ‖W‖ of each layer by its name, a dict
        whose attribute ``skipped`` names the convolutions that stayed, each with the reason.

    Raises:
        ValueError: if ``skip`` names no module, or an atom number is below 1.
    """
    for name, number in (("spatial", num_spatial_atoms), ("temporal", num_temporal_atoms)):
        if number is not None and number < 1:
            raise ValueError(f"num_{name}_atoms must be at least 1 or None, not {number}")
    skipped = set(skip)
    unknown = skipped - {name for name, _ in module.named_modules()}
    if unknown:
        raise ValueError(f"skip names no module: {', '.join(sorted(unknown))}")
    errors = Errors()
    tied = tied_parameters(module)

    def convert(name: str, old: nn.Module) -> nn.Module | None:
        if any(name == outer or name.startswith(f"{outer}.") for outer in skipped):
            return None
        if (
            not isinstance(old, nn.Conv3d)
            or old.kernel_size[0] == 1
            or old.kernel_size[1:] == (1, 1)
        ):
            return None
        complex_filter = "its filter is complex" if is_complex(old) else None
        reason = other_forward(old) or other_filter(old, ("weight",), tied) or complex_filter
        if reason is not None:
            errors.skipped[name] = reason
            return None
        new, errors[name] = _decompose_conv(old, num_spatial_atoms, num_temporal_atoms)
        return new

    return _replaced(module, convert), errors


def fuse(module: nn.Module) -> nn.Module:
    """Replaces every STDCFConv3d by a plain nn.Conv3d with the composed filter.

    Outputs stay the same, and nothing of this library is left, so the result can be exported as any
    other network. The input is untouched. Subclasses with a forward of their own stay, and so do
    layers whose hooks, or coefficients that other layers have as well, would be lost: a warning
    names them, and the result's attribute ``not_fused`` (name -> reason), which is there only then.
    """
    skipped: dict[str, str] = {}
    # Layers may share their atoms; of a filter each has its own.
    tied = tied_parameters(module) - {
        id(atoms)
        for layer in module.modules()
        if isinstance(layer, STDCFConv3d)
        for atoms in (layer.spatial_atoms, layer.temporal_atoms)
    }

    def convert(name: str, old: nn.Module) -> nn.Module | None:
        if not isinstance(old, STDCFConv3d):
            return None
        reason = _other_layer(old) or other_filter(old, FILTERS, tied)
        if reason is not None:
            skipped[name] = reason
            return None
        return _fuse_conv(old)

    fused = _replaced(module, convert)
    if skipped:
        fused.not_fused = skipped  # type: ignore[assignment]
        reasons = ", ".join(f"{name} ({reason})" for name, reason in skipped.items())
        warnings.warn(f"fuse leaves as they are: {reasons}", stacklevel=2)
    return fused


def _other_layer(layer: STDCFConv3d) -> str | None:
    names = ("forward", "compose_weight", "_call", "__call__")
    kind = type(layer)
    if any(getattr(kind, n) is not getattr(STDCFConv3d, n) or n in layer.__dict__ for n in names):
        return f"{kind.__name__} has a forward of its own"
    return None


def _decompose_conv(
    old: nn.Conv3d, num_spatial: int | None, num_temporal: int | None
) -> tuple[STDCFConv3d, float]:
    k_t, k_h, k_w = old.kernel_size
    num_spatial = min(num_spatial or k_h * k_w, k_h * k_w)
    num_temporal = min(num_temporal or k_t, k_t)
    new = STDCFConv3d(
        num_spatial_atoms=num_spatial,
        num_temporal_atoms=num_temporal,
        **_arguments(old),
    )
    spatial, temporal, coefficients, error = fit_atoms(old.weight, num_spatial, num_temporal)
    with torch.no_grad():
        new.spatial_atoms.copy_(spatial)
        new.temporal_atoms.copy_(temporal)
        new.coefficients.copy_(coefficients)
    _take_over(new, old, [new.spatial_atoms, new.temporal_atoms, new.coefficients], old.weight)
    return new, float(error)


def _fuse_conv(old: STDCFConv3d) -> nn.Conv3d:
    new = nn.Conv3d(**_arguments(old))
    with torch.no_grad():
        new.weight.copy_(old.compose_weight())
    _take_over(new, old, [new.weight], old.coefficients)
    return new


def _arguments(conv: Any) -> dict[str, Any]:
    reference = conv.coefficients if isinstance(conv, STDCFConv3d) else conv.weight
    return {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "groups": conv.groups,
        "bias": conv.bias is not None,
        "padding_mode": conv.padding_mode,
        "device": reference.device,
        "dtype": reference.dtype,
    }


def _take_over(new: Any, old: Any, filters: list[Tensor], like: Tensor) -> None:
    """Bias, training mode and what is frozen."""
    for parameter in filters:
        parameter.requires_grad_(like.requires_grad)
    if old.bias is not None:
        with torch.no_grad():
            new.bias.copy_(old.bias)
        new.bias.requires_grad_(old.bias.requires_grad)
    new.train(old.training)


def _replaced(
    module: nn.Module, convert: Callable[[str, nn.Module], nn.Module | None]
) -> nn.Module:
    """A deep copy of the module in which `convert` has replaced what it returns a new one for."""
    # A weight that a hook computes (spectral norm) is not a leaf, and deepcopy would refuse it.
    replacements: dict[int, Any] = {
        id(t): t.detach().clone() for t in tensors_of(module) if t.grad_fn is not None
    }
    for name, old in module.named_modules():
        new = convert(name, old)
        if new is not None:
            replacements[id(old)] = new
    # What deepcopy finds in its memo it takes for the copy, so shared modules stay shared.
    return copy.deepcopy(module, dict(replacements))
