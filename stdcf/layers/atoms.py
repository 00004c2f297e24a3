"""Atoms and coefficients: how they start, and atoms of another size."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product

import torch
from torch import Tensor
from torch.nn import init


def kaiming_(spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor) -> None:
    """Atoms ~ N(0, 1); the composed filter gets the variance of nn.Conv3d's weight.

    The paper does not state its initialisation.
    """
    init.normal_(spatial_MHW)
    init.normal_(temporal_NT)
    _draw_coefficients_(coefficients_OCX, spatial_MHW, temporal_NT)


def normal_(spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor) -> None:
    """DCFNet's draw for trainable atoms: atoms ~ N(0, 1), coefficients ~ N(0, 1 / (C_in·M·N))."""
    init.normal_(spatial_MHW)
    init.normal_(temporal_NT)
    init.normal_(coefficients_OCX, std=1 / math.sqrt(coefficients_OCX[0].numel()))


def fourier_bessel_(spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor) -> None:
    """DCFNet's fixed atoms over space, cosines over time, the dense filter's variance.

    Raises:
        ValueError: for more atoms than there are, or a spatial size that has none.
    """
    with torch.no_grad():
        spatial_MHW.copy_(fourier_bessel_atoms(len(spatial_MHW), spatial_MHW.shape[1:]))
        temporal_NT.copy_(dct_atoms(len(temporal_NT), temporal_NT.shape[1:]))
    _draw_coefficients_(coefficients_OCX, spatial_MHW, temporal_NT)


def dct_(spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor) -> None:
    """Cosines over space and time, the dense filter's variance.

    Raises:
        ValueError: for more atoms than taps.
    """
    with torch.no_grad():
        spatial_MHW.copy_(dct_atoms(len(spatial_MHW), spatial_MHW.shape[1:]))
        temporal_NT.copy_(dct_atoms(len(temporal_NT), temporal_NT.shape[1:]))
    _draw_coefficients_(coefficients_OCX, spatial_MHW, temporal_NT)


def balanced_(spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor) -> None:
    """The composed filter of `kaiming_`, with atoms and coefficients of one size.

    A step of Adam is about as long as its rate, whatever the parameter's size, so it moves a part
    by rate / size of itself. Here all three parts have one root mean square, and one rate moves the
    filter by the same amount through each.
    """
    kaiming_(spatial_MHW, temporal_NT, coefficients_OCX)
    parts = (spatial_MHW, temporal_NT, coefficients_OCX)
    with torch.no_grad():
        sizes = [part.square().mean().sqrt() for part in parts]
        common = (sizes[0] * sizes[1] * sizes[2]).pow(1 / 3)
        for part, size in zip(parts, sizes, strict=True):
            part.mul_(common / size)


def orthogonal_(spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor) -> None:
    """Atoms of a random orthogonal basis, norm √taps as N(0, 1) has; the dense filter's variance.

    Raises:
        ValueError: for more atoms than taps.
    """
    for atoms in (spatial_MHW, temporal_NT):
        taps = atoms[0].numel()
        if len(atoms) > taps:
            raise ValueError(
                f"there are {taps} orthogonal atoms of {_named(atoms.shape[1:])}, not "
                f"{len(atoms)}; ask for fewer, or take another init than 'orthogonal'"
            )
        # In float32 on the atoms' device: QR knows no half precision.
        basis = torch.empty(len(atoms), taps, device=atoms.device)
        init.orthogonal_(basis, gain=math.sqrt(taps))
        with torch.no_grad():
            atoms.copy_(basis.view_as(atoms))
    _draw_coefficients_(coefficients_OCX, spatial_MHW, temporal_NT)


INITS: dict[str, Callable[[Tensor, Tensor, Tensor], None]] = {
    "kaiming": kaiming_,
    "normal": normal_,
    "fourier_bessel": fourier_bessel_,
    "dct": dct_,
    "balanced": balanced_,
    "orthogonal": orthogonal_,
}


def rescale_(
    name: str, spatial_MHW: Tensor, temporal_NT: Tensor, coefficients_OCX: Tensor, factor: float
) -> None:
    """Multiplies the variance of a draw's composed filter by a factor; not that of "normal"."""
    with torch.no_grad():
        if name == "balanced":
            for part in (spatial_MHW, temporal_NT, coefficients_OCX):
                part.mul_(factor ** (1 / 6))
        elif name != "normal":
            coefficients_OCX.mul_(math.sqrt(factor))


def _draw_coefficients_(coefficients_OCX: Tensor, spatial_MHW: Tensor, temporal_NT: Tensor) -> None:
    """Normal coefficients with which the composed filter has nn.Conv3d's variance, given the atoms.

    nn.Conv3d draws its weight with variance 1 / (3·fan_in) (Kaiming's uniform bound with a = √5),
    fan_in = C_in/groups · kT·kH·kW. The coefficients' variance is that divided by the sum of the
    atoms' mean squares, so the match holds for each draw and not only on average.
    """
    fan_in = coefficients_OCX.shape[1] * spatial_MHW[0].numel() * temporal_NT[0].numel()
    init.normal_(coefficients_OCX)
    # Scaled by a tensor: reading its value would fail on fake tensors and wait for a GPU.
    with torch.no_grad():
        coefficients_OCX.mul_((3 * fan_in * energy(spatial_MHW, temporal_NT)).rsqrt())


def energy(spatial_MHW: Tensor, temporal_NT: Tensor) -> Tensor:
    """Variance of a composed filter's taps, averaged over them, for coefficients of variance 1."""
    return spatial_MHW.square().mean((1, 2)).sum() * temporal_NT.square().mean(1).sum()


def reset_bias_(bias: Tensor, fan_in: int) -> None:
    """nn.Conv3d's draw: uniform within 1/√fan_in."""
    if fan_in > 0:
        with torch.no_grad():
            init.uniform_(bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))


def dct_atoms(number: int, size: Sequence[int]) -> Tensor:
    """The lowest frequencies of the discrete cosine transform (DCT-II), orthonormal.

    Args:
        size: [kT] or [kH, kW].

    Returns:
        [number, *size] in float64, by rising frequency Σ (f/k)² over the axes; of equal ones that
        which varies along the last axis comes first.

    Raises:
        ValueError: for more atoms than taps.
    """
    if number > math.prod(size):
        raise ValueError(
            f"there are {math.prod(size)} cosine atoms of {_named(size)}, not {number}; "
            f"ask for fewer, or take another init than 'dct'"
        )
    axes = [_cosines(k) for k in size]
    chosen = sorted(
        product(*map(range, size)),
        key=lambda f: (sum((a / k) ** 2 for a, k in zip(f, size, strict=True)), f),
    )[:number]
    atoms = []
    for frequency in chosen:
        atom = torch.ones((), dtype=torch.float64)
        for basis, f in zip(axes, frequency, strict=True):
            atom = atom[..., None] * basis[f]
        atoms.append(atom)
    return torch.stack(atoms)


def _cosines(k: int) -> Tensor:
    """The DCT-II's matrix, [frequency, tap]."""
    middle = torch.arange(k, dtype=torch.float64) + 0.5
    basis = torch.cos(torch.pi / k * torch.arange(k, dtype=torch.float64)[:, None] * middle)
    return basis / basis.norm(dim=1, keepdim=True)


def fourier_bessel_atoms(number: int, size: Sequence[int]) -> Tensor:
    """DCFNet's atoms: the disc's Fourier–Bessel functions by rising eigenvalue (Qiu et al., 2018).

    The functions are J_a(z r)·cos aθ and J_a(z r)·sin aθ, z being zeros of J_a, normed on the disc
    of radius k/2 and sampled at the taps; outside they are 0. As in DCFNet's published code, a zero
    counts if a ≤ 15 and the next one is at most π·k/2 times 2 (below 5×5) or 1.5, there are at most
    k² − 1, and all are scaled by one number, with which their mean squared norm is 1. θ starts at
    the axis of width.

    Args:
        size: [k, k], k odd and at least 3.

    Returns:
        [number, k, k] in float64.

    Raises:
        ValueError: for another size, or more atoms than there are (6 of 3×3, 14 of 5×5).
    """
    import numpy as np
    from scipy import special

    k = size[0]
    if tuple(size) != (k, k) or k % 2 == 0 or k < 3:
        raise ValueError(
            f"Fourier–Bessel atoms are k×k with an odd k from 3 on, not {_named(size)}; "
            "take another init, such as 'dct'"
        )
    radius = k / 2
    limit = math.pi * radius * (2 if k < 5 else 1.5)
    functions = []
    for order in range(16):
        zeros = special.jn_zeros(order, int(limit / math.pi) + 2)
        functions += [(z, order) for z, after in pairwise(zeros) if after <= limit]
    taps = np.arange(k) - k // 2
    r = np.hypot(taps[:, None], taps) / radius
    angle = np.arctan2(np.broadcast_to(taps[:, None], (k, k)), taps)
    atoms = []
    for z, order in sorted(functions):
        radial = np.where(r < 1, special.jv(order, z * r) / abs(special.jv(order + 1, z)), 0)
        if order == 0:
            atoms.append(radial)
        else:
            atoms += [wave(order * angle) * radial * math.sqrt(2) for wave in (np.cos, np.sin)]
    family = np.stack(atoms[: k * k - 1])
    if number > len(family):
        raise ValueError(
            f"there are {len(family)} Fourier–Bessel atoms of {_named(size)}, not {number}; "
            "ask for fewer, or take another init"
        )
    scale = math.sqrt(np.square(family).sum((1, 2)).mean())
    return torch.tensor(family[:number] / scale)


def resample(atoms: Tensor, size: int | Sequence[int]) -> Tensor:
    """Atoms stretched to another size, for `STDCFConv3d.swap_atoms`.

    Interpolated linearly from the first tap to the last, so that at size d·(k − 1) + 1 every d-th
    tap is one of the old ones; then divided by how many times more taps there are, so that a
    constant atom keeps its sum, and a stretched input its response.

    Args:
        atoms: ψ, [M, kH, kW], or φ, [N, kT].
        size: of the new taps, one number for each axis or one for all.

    Returns:
        [M, kH', kW'] or [N, kT'].

    Raises:
        ValueError: for a size below 1, or too many or too few numbers.
    """
    axes = atoms.ndim - 1
    sizes = (size,) * axes if isinstance(size, int) else tuple(size)
    if len(sizes) != axes or min(sizes) < 1:
        raise ValueError(f"size must be {axes} numbers from 1 on, not {size!r}")
    for axis, new in enumerate(sizes, start=1):
        old = atoms.shape[axis]
        step = (old - 1) / max(new - 1, 1)
        # One tap is the middle's.
        first = 0 if new > 1 else (old - 1) / 2
        at = first + step * torch.arange(new, dtype=torch.float64)
        hats = (1 - (at[:, None] - torch.arange(old)).abs()).clamp(min=0) * (old / new)
        atoms = (atoms.movedim(axis, -1) @ hats.to(atoms).T).movedim(-1, axis)
    return atoms


def _named(size: Sequence[int]) -> str:
    return "×".join(map(str, size)) + (" taps" if len(size) == 1 else "")
