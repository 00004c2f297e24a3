"""Degrees of freedom and best fits of the families of filters, for one seed."""

from typing import Any

import torch
from torch import Tensor, nn

from stdcf.layers.fit import fit_atoms
from stdcf.training.checkpoint import load_checkpoint
from suites.engine.catalog import build_model
from suites.engine.task import Run
from suites.engine.train import train

T, K = 3, 3
# Singular values below this share of the largest count as none, in float64.
_TOLERANCE = 1e-9
# Family, M and N whose ranks are computed.
_PAIRS = ((3, 2), (6, 2), (9, 3))
FAMILIES = (
    ("regular", 0, 0),
    ("rank1", 0, 0),
    *(("rank1_atoms", m, n) for m, n in _PAIRS),
    *(("stdcf", m, n) for m, n in _PAIRS),
)
# What a row keeps of its network's training.
_OF_TRAINING = (
    *("status", "reason", "batch_size", "train_clips", "test_clips", "epochs_per_stage"),
    *("clip_shape", "classes", "synthetic", "notes", "broken_videos", "videos", "train_seconds"),
)


def measure(run: Run) -> dict[str, Any]:
    """The task "capacity": ranks, then fits of random filters and of a trained network's."""
    row = train(run)
    if not row:
        return {}
    spec = run.spec
    options = spec.options
    generator = torch.Generator().manual_seed(spec.seed)
    ranks = []
    for channels in options["ranks"]:
        for family, m, n in FAMILIES:
            run.stop_if_asked()
            rank, params = jacobian_rank(family, channels, m, n, generator)
            ranks.append(
                {
                    "family": family,
                    "spatial_atoms": m,
                    "temporal_atoms": n,
                    "channels": channels,
                    "rank": rank,
                    "params": params,
                }
            )
    model = build_model(spec, row["classes"], row["clip_shape"][0])
    model.load_state_dict(load_checkpoint(run.folder.path / f"stage-{spec.stages[-1].name}.pt"))
    layers = [module for module in model.modules() if isinstance(module, nn.Conv3d)]
    c = options["fit_channels"]
    filters = {
        "random": torch.randn(c, c, T, K, K, generator=generator, dtype=torch.float64),
        **{f"layer {number}": layer.weight.detach() for number, layer in enumerate(layers, 1)},
    }
    fits = []
    for name, weight in filters.items():
        run.stop_if_asked()
        fits.append(_fit(name, weight, "rank1", 0, 0, rank1_error(weight)))
        for m, n in options["atoms"]:
            fits.append(_fit(name, weight, "stdcf", m, n, float(fit_atoms(weight, m, n)[3])))
    return {
        **{name: row[name] for name in _OF_TRAINING},
        # Not "accuracy": a figure of accuracies would show it, which is another suite's matter.
        "network_accuracy": row["accuracy"],
        "summary": f"{len(ranks)} ranks, {len(fits)} fits",
        "ranks": ranks,
        "fits": fits,
    }


def compose(family: str, params: tuple[Tensor, ...]) -> Tensor:
    """The filter [C_out, C_in, T, K²] of a family's parameters.

    Families: "regular"; "stdcf" (ψ [M, K²], φ [N, T], α [C_out, C_in, M, N]); "rank1", W_s
    [C, C_in, K²] and W_t [C_out, C, T] as the layer has them; "rank1_atoms", the paper's count of
    it, where W_s is made of ψ by μ [C, C_in, M] and W_t of φ by ν [C_out, C, N].
    """
    if family == "regular":
        return params[0]
    if family == "stdcf":
        return torch.einsum("ocmn,ms,nt->octs", params[2], params[0], params[1])
    if family == "rank1":
        return torch.einsum("dcs,odt->octs", params[0], params[1])
    psi, phi, mu, nu = params
    return torch.einsum("dcm,ms,odn,nt->octs", mu, psi, nu, phi)


def draw(family: str, c: int, m: int, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Random parameters of a family with C = C_in = C_out."""
    atoms = [(m, K * K), (n, T)]
    shapes: dict[str, list[tuple[int, ...]]] = {
        "regular": [(c, c, T, K * K)],
        "stdcf": [*atoms, (c, c, m, n)],
        "rank1": [(c, c, K * K), (c, c, T)],
        "rank1_atoms": [*atoms, (c, c, m), (c, c, n)],
    }
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes[family]
    )


def jacobian_rank(
    family: str, channels: int, m: int, n: int, generator: torch.Generator
) -> tuple[int, int]:
    """Numerical rank of d(filter)/d(parameters) at random parameters, and how many there are.

    It is the dimension of the set of filters that the family can be.
    """
    params = draw(family, channels, m, n, generator)
    parts = torch.autograd.functional.jacobian(lambda *p: compose(family, p).flatten(), params)
    jacobian = torch.cat([part.flatten(1) for part in parts], dim=1)
    values = torch.linalg.svdvals(jacobian)
    return int((values > _TOLERANCE * values[0]).sum()), jacobian.shape[1]


def rank1_error(weight_OCTHW: Tensor) -> float:
    """‖W − W'‖ / ‖W‖ of rank-1's best fit, with C_out channels between W_s and W_t.

    Σ_d W_t[o,d,t] W_s[d,c,s] is a matrix of rank C_out, so the best is the truncated singular value
    decomposition (Eckart and Young).
    """
    c_out = weight_OCTHW.shape[0]
    matrix = weight_OCTHW.double().permute(0, 2, 1, 3, 4).flatten(2).flatten(0, 1)
    values = torch.linalg.svdvals(matrix)
    return float(values[c_out:].norm() / values.norm())


def _fit(name: str, weight: Tensor, family: str, m: int, n: int, error: float) -> dict[str, Any]:
    c_out, c_in = weight.shape[:2]
    if family == "rank1":
        params = c_out * c_in * K * K + c_out * c_out * T
    else:
        params = c_out * c_in * m * n + m * K * K + n * T
    return {
        "filters": name,
        "family": family,
        "spatial_atoms": m,
        "temporal_atoms": n,
        "params": params,
        "dense_params": weight.numel(),
        "error": error,
    }
