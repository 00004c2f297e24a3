"""Initialisation: the composed filter's variance against nn.Conv3d's."""

import math

import pytest
import torch
from torch import nn

from stdcf import STDCFConv3d


@pytest.mark.parametrize(
    ("kernel_size", "groups", "m", "n"),
    [(3, 1, 3, 2), (3, 2, 6, 2), ((5, 3, 1), 1, 1, 1), (1, 4, 2, 3), ((2, 7, 7), 1, 8, 4)],
)
def test_kaiming_gives_the_composed_filter_the_dense_variance(
    kernel_size: int | tuple[int, int, int], groups: int, m: int, n: int
) -> None:
    """Var W = 1 / (3·fan_in), which is what nn.Conv3d's uniform bound 1/√fan_in gives.

    Given the atoms, the filters of the channel pairs are independent normal vectors. Such a
    vector's mean square has at most twice its expectation's square as variance, so the mean over
    `pairs` of them keeps within 5·√(2 / pairs) of the expectation but once in a million draws.
    """
    torch.manual_seed(0)
    draws, c_in, c_out = 40, 16, 24
    options = {"num_spatial_atoms": m, "num_temporal_atoms": n}
    layers = [
        STDCFConv3d(c_in, c_out, kernel_size, groups=groups, dtype=torch.float64, **options)
        for _ in range(draws)
    ]
    weights = torch.stack([layer.compose_weight().detach() for layer in layers])
    fan_in = weights[0, 0].numel()
    pairs = draws * c_out * c_in // groups
    bound = 5 * math.sqrt(2 / pairs)
    assert float(weights.square().mean()) * 3 * fan_in == pytest.approx(1, abs=bound)
    # and each single draw, not only their average
    per_draw = weights.square().flatten(1).mean(1) * 3 * fan_in
    assert float((per_draw - 1).abs().max()) < 5 * math.sqrt(2 * draws / pairs)
    assert abs(float(weights.mean())) * math.sqrt(3 * fan_in) < 5 / math.sqrt(pairs)
    conv = nn.Conv3d(c_in, c_out, kernel_size, groups=groups)
    assert float(conv.weight.detach().square().mean()) * 3 * fan_in == pytest.approx(1, abs=0.1)


def test_atoms_are_standard_normal() -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(1, 1, 7, num_spatial_atoms=400, num_temporal_atoms=2000)
    for atoms in (layer.spatial_atoms.detach(), layer.temporal_atoms.detach()):
        # Standard errors of a mean and of a variance: 1/√n and √(2/n).
        assert abs(float(atoms.mean())) < 5 / math.sqrt(atoms.numel())
        assert float(atoms.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / atoms.numel()))


def test_normal_is_dcfnets_draw() -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(32, 64, 3, num_spatial_atoms=4, num_temporal_atoms=3, init="normal")
    coefficients = layer.coefficients.detach()
    bound = 5 * math.sqrt(2 / coefficients.numel())
    assert float(coefficients.var()) * 32 * 12 == pytest.approx(1, abs=bound)


def test_bias_is_drawn_as_conv3ds() -> None:
    torch.manual_seed(0)
    bias = STDCFConv3d(4, 4000, 3, groups=2).bias.detach()
    limit = 1 / math.sqrt(2 * 27)
    assert float(bias.abs().max()) <= limit
    # A uniform variable's variance is limit²/3 and its square's relative deviation 2/√5.
    assert float(bias.square().mean()) / (limit**2 / 3) == pytest.approx(1, abs=5 * 0.9 / 63)


def test_seed_decides_the_draw() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(STDCFConv3d(3, 4, 3).compose_weight())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_reset_parameters_draws_anew() -> None:
    layer = STDCFConv3d(3, 4, 3)
    before = [p.detach().clone() for p in layer.parameters()]
    layer.reset_parameters()
    assert not any(torch.equal(p, q) for p, q in zip(before, layer.parameters(), strict=True))
    assert all(p.requires_grad and p.is_leaf for p in layer.parameters())
