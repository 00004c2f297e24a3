"""Atoms and coefficients that fit a dense filter best."""

from collections.abc import Iterator

import torch
from torch import Tensor

_SWEEPS = 500
_TOLERANCE = 1e-14
_RANDOM_STARTS = 8


def fit_atoms(weight_OCTHW: Tensor, num_spatial: int, num_temporal: int) -> tuple[Tensor, ...]:
    """Atoms and coefficients that fit a dense filter best in least squares.

    Truncated multilinear SVD, then alternating least squares to convergence (higher-order
    orthogonal iteration, De Lathauwer et al. 2000) on the filter's spatial and temporal axes; of
    several starts the best, as where it ends depends on where it starts. All of it depends on the
    filter through the (kT·kH·kW)² matrix of its second moments, so the cost is that of matrices of
    some 27 rows.

    Returns:
        Orthonormal spatial atoms [M, kH, kW] and temporal atoms [N, kT], coefficients
        [C_out, C_in/groups, M·N] and the relative error (a tensor without axes), in float64 on the
        CPU.
    """
    c_out, c_in, k_t, k_h, k_w = weight_OCTHW.shape
    weight_XTS = weight_OCTHW.detach().cpu().double().reshape(c_out * c_in, k_t, k_h * k_w)
    flat_XK = weight_XTS.flatten(1)
    moments_TSTS = (flat_XK.T @ flat_XK).reshape(k_t, k_h * k_w, k_t, k_h * k_w)
    fits = [
        _alternate(moments_TSTS, start_TN, num_spatial)
        for start_TN in _starts(moments_TSTS, num_spatial, num_temporal)
    ]
    _, spatial_SM, temporal_TN = max(fits, key=lambda fit: fit[0])
    coefficients_XMN = torch.einsum("xts,sm,tn->xmn", weight_XTS, spatial_SM, temporal_TN)
    fitted_XTS = torch.einsum("xmn,sm,tn->xts", coefficients_XMN, spatial_SM, temporal_TN)
    norm = weight_XTS.norm()
    error = (weight_XTS - fitted_XTS).norm() / norm if norm > 0 else norm
    return (
        spatial_SM.T.reshape(num_spatial, k_h, k_w),
        temporal_TN.T,
        coefficients_XMN.reshape(c_out, c_in, num_spatial * num_temporal),
        error,
    )


def _starts(moments_TSTS: Tensor, num_spatial: int, num_temporal: int) -> Iterator[Tensor]:
    """Temporal atoms to begin with, [kT, N]."""
    k_t, k_s = moments_TSTS.shape[:2]
    yield _leading(torch.einsum("tsus->tu", moments_TSTS), num_temporal)
    if num_spatial == k_s or num_temporal == k_t:
        # One SVD is the whole solution (Eckart and Young).
        return
    spatial_SM = _leading(torch.einsum("tstr->sr", moments_TSTS), num_spatial)
    yield _leading(_seen_by_spatial(moments_TSTS, spatial_SM), num_temporal)
    generator = torch.Generator().manual_seed(0)
    for _ in range(_RANDOM_STARTS):
        random_TN = torch.randn(k_t, num_temporal, generator=generator, dtype=torch.float64)
        yield torch.linalg.qr(random_TN).Q


def _alternate(
    moments_TSTS: Tensor, temporal_TN: Tensor, num_spatial: int
) -> tuple[float, Tensor, Tensor]:
    """The squared norm that the atoms keep, at convergence, and the atoms."""
    kept = 0.0
    for _ in range(_SWEEPS):
        before = kept
        within_SS = torch.einsum("tsur,tn,un->sr", moments_TSTS, temporal_TN, temporal_TN)
        spatial_SM = _leading(within_SS, num_spatial)
        within_TT = _seen_by_spatial(moments_TSTS, spatial_SM)
        temporal_TN = _leading(within_TT, temporal_TN.shape[1])
        kept = float(torch.einsum("tn,tu,un->", temporal_TN, within_TT, temporal_TN))
        if kept - before <= _TOLERANCE * kept:
            break
    return kept, spatial_SM, temporal_TN


def _seen_by_spatial(moments_TSTS: Tensor, spatial_SM: Tensor) -> Tensor:
    """The moments over time of what the spatial atoms keep, [kT, kT]."""
    return torch.einsum("tsur,sm,rm->tu", moments_TSTS, spatial_SM, spatial_SM)


def _leading(symmetric: Tensor, number: int) -> Tensor:
    """Eigenvectors of the largest eigenvalues, one a column."""
    return torch.linalg.eigh(symmetric).eigenvectors.flip(1)[:, :number]
