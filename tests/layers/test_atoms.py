"""Initialisation: the composed filter's variance against nn.Conv3d's, and the fixed atoms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from stdcf import STDCFConv3d
from stdcf.layers.atoms import INITS, dct_atoms, fourier_bessel_atoms, resample


@pytest.mark.parametrize(
    ("init", "kernel_size", "groups", "m", "n"),
    [
        ("kaiming", 3, 1, 3, 2),
        ("kaiming", 3, 2, 6, 2),
        ("kaiming", (5, 3, 1), 1, 1, 1),
        ("kaiming", 1, 4, 2, 3),
        ("kaiming", (2, 7, 7), 1, 8, 4),
        ("fourier_bessel", 3, 1, 6, 2),
        ("fourier_bessel", (2, 5, 5), 2, 3, 1),
        ("dct", 3, 1, 3, 2),
        ("dct", (4, 2, 5), 4, 10, 4),
    ],
)
def test_the_composed_filter_gets_the_dense_variance(
    init: str, kernel_size: int | tuple[int, int, int], groups: int, m: int, n: int
) -> None:
    """Var W = 1 / (3·fan_in), which is what nn.Conv3d's uniform bound 1/√fan_in gives.

    Given the atoms, the filters of the channel pairs are independent normal vectors. Such a
    vector's mean square has at most twice its expectation's square as variance, so the mean over
    `pairs` of them keeps within 5·√(2 / pairs) of the expectation but once in a million draws.
    """
    torch.manual_seed(0)
    draws, c_in, c_out = 40, 16, 24
    options = {"num_spatial_atoms": m, "num_temporal_atoms": n, "init": init}
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


def test_balanced_is_kaimings_filter_with_parts_of_one_size() -> None:
    layers = []
    for init in ("kaiming", "balanced"):
        torch.manual_seed(0)
        layers.append(STDCFConv3d(16, 32, 3, init=init, dtype=torch.float64))
    torch.testing.assert_close(layers[1].compose_weight(), layers[0].compose_weight())
    parts = (layers[1].spatial_atoms, layers[1].temporal_atoms, layers[1].coefficients)
    sizes = [float(part.detach().square().mean().sqrt()) for part in parts]
    assert sizes == pytest.approx([sizes[0]] * 3)


def _moved(layer: STDCFConv3d, part: nn.Parameter) -> float:
    """How far a step of 1e-3 against every gradient's sign moves the filter, of its norm."""
    before = layer.compose_weight().detach().clone()
    assert part.grad is not None
    with torch.no_grad():
        part -= 1e-3 * part.grad.sign()
        moved = (layer.compose_weight() - before).norm() / before.norm()
        part += 1e-3 * part.grad.sign()
    return float(moved)


@pytest.mark.parametrize(("init", "low", "high"), [("balanced", 0.2, 2.0), ("kaiming", 20.0, 1e4)])
def test_one_rate_moves_a_balanced_filter_alike_through_every_part(
    init: str, low: float, high: float
) -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(32, 64, 3, padding=1, init=init, dtype=torch.float64)
    layer(torch.randn(4, 32, 4, 8, 8, dtype=torch.float64)).relu().square().mean().backward()
    atoms = [_moved(layer, part) for part in (layer.spatial_atoms, layer.temporal_atoms)]
    coefficients = _moved(layer, layer.coefficients)
    assert all(low < coefficients / moved < high for moved in atoms)


def test_orthogonal_atoms_are_at_right_angles() -> None:
    layer = STDCFConv3d(3, 4, 3, num_spatial_atoms=9, init="orthogonal", dtype=torch.float64)
    for atoms, taps in ((layer.spatial_atoms, 9), (layer.temporal_atoms, 3)):
        flat = atoms.detach().flatten(1)
        torch.testing.assert_close(
            flat @ flat.T, taps * torch.eye(len(flat)).double(), rtol=1e-6, atol=1e-5
        )
    with pytest.raises(ValueError, match="there are 3 orthogonal atoms of 3 taps, not 4"):
        STDCFConv3d(3, 4, 3, num_temporal_atoms=4, init="orthogonal")


def test_bias_is_drawn_as_conv3ds() -> None:
    torch.manual_seed(0)
    bias = STDCFConv3d(4, 4000, 3, groups=2).bias.detach()
    limit = 1 / math.sqrt(2 * 27)
    assert float(bias.abs().max()) <= limit
    # A uniform variable's variance is limit²/3 and its square's relative deviation 2/√5.
    assert float(bias.square().mean()) / (limit**2 / 3) == pytest.approx(1, abs=5 * 0.9 / 63)


@pytest.mark.parametrize("init", INITS)
def test_seed_decides_the_draw(init: str) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(STDCFConv3d(3, 4, 3, init=init).compose_weight())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_reset_parameters_draws_anew() -> None:
    layer = STDCFConv3d(3, 4, 3)
    before = [p.detach().clone() for p in layer.parameters()]
    layer.reset_parameters()
    assert not any(torch.equal(p, q) for p, q in zip(before, layer.parameters(), strict=True))
    assert all(p.requires_grad and p.is_leaf for p in layer.parameters())


@pytest.mark.parametrize("init", INITS)
def test_every_initialisation_runs_where_there_are_no_numbers(init: str) -> None:
    torch.manual_seed(0)
    expected = STDCFConv3d(3, 4, 3, init=init)
    meta = STDCFConv3d(3, 4, 3, init=init, device="meta")
    with FakeTensorMode():
        assert STDCFConv3d(3, 4, 3, init=init).compose_weight().shape == (4, 3, 3, 3, 3)
    late = meta.to_empty(device="cpu")
    skipped = nn.utils.skip_init(STDCFConv3d, 3, 4, 3, init=init)
    for layer in (late, skipped):
        torch.manual_seed(0)
        layer.reset_parameters()
        for p, q in zip(layer.parameters(), expected.parameters(), strict=True):
            assert torch.equal(p, q)
    half = STDCFConv3d(3, 4, 3, init=init, dtype=torch.bfloat16)
    assert torch.isfinite(half.compose_weight()).all()


@pytest.mark.parametrize("init", INITS)
def test_every_initialisation_leaves_parameters_that_train(init: str) -> None:
    layer = STDCFConv3d(3, 4, 3, init=init)
    layer(torch.randn(1, 3, 4, 4, 4)).square().mean().backward()
    assert all(p.is_leaf and p.grad is not None and p.grad.any() for p in layer.parameters())


def test_fourier_bessel_atoms_of_3x3_are_dcfnets() -> None:
    """The numbers are what DCFNet's published code gives for 3×3."""
    atoms = fourier_bessel_atoms(6, (3, 3))
    middle, edge, corner = 0.67310526, 0.30529919, 0.04933328
    disc = [[corner, edge, corner], [edge, middle, edge], [corner, edge, corner]]
    side, tip = 0.59283696, 0.07826882
    across = [[-tip, 0, tip], [-side, 0, side], [-tip, 0, tip]]
    saddle = [[0, -0.67993093, 0], [0.67993093, 0, 0.67993093], [0, -0.67993093, 0]]
    ring = [
        [-0.11172057, -0.408809, -0.11172057],
        [-0.408809, 1.02696754, -0.408809],
        [-0.11172057, -0.408809, -0.11172057],
    ]
    for atom, expected in zip(atoms[[0, 1, 3, 5]], (disc, across, saddle, ring), strict=True):
        torch.testing.assert_close(atom, torch.tensor(expected).double(), atol=1e-7, rtol=0)
    torch.testing.assert_close(atoms[2], atoms[1].T)
    assert float(atoms[4][0, 0]) == pytest.approx(0.14766633, abs=1e-7)


@pytest.mark.parametrize(("k", "number"), [(3, 6), (5, 14), (7, 38), (9, 71)])
def test_fourier_bessel_atoms_number_order_and_norm(k: int, number: int) -> None:
    atoms = fourier_bessel_atoms(number, (k, k))
    # One number scales all: to a mean squared norm of 1.
    assert float(atoms.square().sum((1, 2)).mean()) == pytest.approx(1, rel=1e-12)
    taps = torch.arange(k) - k // 2
    outside = taps[:, None].square() + taps.square() >= (k / 2) ** 2
    assert not atoms[:, outside].any()
    # Zeros of J_a in order, from the tables: (a, z) = (0, 2.40), (1, 3.83), (2, 5.14), (0, 5.52).
    turned = torch.rot90(atoms[:6], 1, (1, 2))
    for i in (0, 5):
        torch.testing.assert_close(turned[i], atoms[i])
    for i in (1, 2):
        torch.testing.assert_close(torch.rot90(turned[i], 1), -atoms[i])
    for i in (3, 4):
        torch.testing.assert_close(turned[i], -atoms[i])
    # Fewer atoms are the first ones, at the same scale.
    assert torch.equal(fourier_bessel_atoms(3, (k, k)), atoms[:3])
    with pytest.raises(ValueError, match=f"there are {number} Fourier–Bessel atoms of {k}×{k}"):
        fourier_bessel_atoms(number + 1, (k, k))


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 1)])
def test_fourier_bessel_atoms_refuse_what_is_no_disc(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"not {size[0]}×{size[1]}; take another init"):
        STDCFConv3d(2, 2, (3, *size), init="fourier_bessel")


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_cosine_atoms_over_time_are_scipys(k: int) -> None:
    matrix = fft.dct(torch.eye(k, dtype=torch.float64).numpy(), norm="ortho", axis=0)
    torch.testing.assert_close(dct_atoms(k, (k,)), torch.from_numpy(matrix))


@given(size=st.tuples(st.integers(1, 5), st.integers(1, 5)), data=st.data())
def test_cosine_atoms_over_space_are_scipys_by_rising_frequency(
    size: tuple[int, int], data: st.DataObject
) -> None:
    k_h, k_w = size
    atoms = dct_atoms(k_h * k_w, size)
    flat = atoms.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(k_h * k_w, dtype=torch.float64))
    spectra = torch.from_numpy(fft.dctn(atoms.numpy(), norm="ortho", axes=(1, 2)))
    # Each has one frequency, and these rise.
    u, v = torch.unravel_index(spectra.flatten(1).abs().argmax(1), size)
    frequencies = (u / k_h).square() + (v / k_w).square()
    assert (frequencies.diff() >= -1e-6).all()
    torch.testing.assert_close(spectra.flatten(1).amax(1), torch.ones(k_h * k_w).double())
    number = data.draw(st.integers(1, k_h * k_w))
    assert torch.equal(dct_atoms(number, size), atoms[:number])


def test_more_cosine_atoms_than_taps_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 3 cosine atoms of 3 taps, not 4"):
        STDCFConv3d(2, 2, 3, num_temporal_atoms=4, init="dct")
    with pytest.raises(ValueError, match="there are 2 cosine atoms of 1×2, not 3"):
        STDCFConv3d(2, 2, (3, 1, 2), init="dct")


def atoms_of(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


@given(k=st.integers(2, 5), d=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_resampled_atom_goes_through_the_dilated_taps(k: int, d: int, seed: int) -> None:
    torch.manual_seed(seed)
    atoms, size = atoms_of(3, k), d * (k - 1) + 1
    stretched = resample(atoms, size)
    assert stretched.shape == (3, size)
    torch.testing.assert_close(stretched[:, ::d] * (size / k), atoms)
    torch.testing.assert_close(resample(stretched, k), atoms)
    # Halfway between two taps is their mean.
    if d == 2:
        means = (atoms[:, 1:] + atoms[:, :-1]) / 2
        torch.testing.assert_close(stretched[:, 1::2] * (size / k), means)


@given(
    old=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    new=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_resampling_over_space_is_separable_and_keeps_a_constants_sum(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    constant = torch.ones(1, *old, dtype=torch.float64)
    assert float(resample(constant, new).sum()) == pytest.approx(constant.numel())
    rows, columns = atoms_of(1, old[0]), atoms_of(1, old[1])
    product = resample(rows[:, :, None] * columns[:, None], new)
    apart = resample(rows, new[0])[:, :, None] * resample(columns, new[1])[:, None]
    torch.testing.assert_close(product, apart)
    if min(new) > 2:
        # A straight line stays one.
        ramp = torch.arange(float(old[1]), dtype=torch.float64).expand(1, *old)
        assert float(resample(ramp, new).diff(n=2).abs().max()) < 1e-12


def test_resampled_atoms_can_be_swapped_in() -> None:
    layer = STDCFConv3d(2, 3, 3, padding=1)
    x = torch.randn(1, 2, 8, 9, 9)
    shape = layer(x).shape
    layer.swap_atoms(resample(layer.spatial_atoms, 5), resample(layer.temporal_atoms, 5))
    assert (layer.kernel_size, layer.padding) == ((5, 5, 5), (2, 2, 2))
    assert layer(x).shape == shape


@pytest.mark.parametrize("size", [0, (3,), (3, 3, 3), (3, 0)])
def test_resampling_to_no_size_is_refused(size: int | tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="size must be 2 numbers from 1 on"):
        resample(atoms_of(3, 3, 3), size)
