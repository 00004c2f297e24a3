"""Dense 3D convolutions to STDCF and back."""

import io

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from stdcf import STDCFConv3d, decompose, fuse


def _conv(kernel: tuple[int, int, int], seed: int = 0, **options: object) -> nn.Conv3d:
    torch.manual_seed(seed)
    return nn.Conv3d(4, 6, kernel, dtype=torch.float64, **options)


@given(
    kernel=st.tuples(st.integers(2, 3), st.integers(1, 3), st.integers(2, 4)),
    groups=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_full_rank_is_exact(kernel: tuple[int, int, int], groups: int, seed: int) -> None:
    conv = _conv(kernel, seed, groups=groups, padding=1, stride=(1, 2, 1))
    new, errors = decompose(conv)
    assert isinstance(new, STDCFConv3d)
    assert (new.num_spatial_atoms, new.num_temporal_atoms) == (kernel[1] * kernel[2], kernel[0])
    assert errors[""] < 1e-12
    clip = torch.randn(2, 4, 6, 7, 8, dtype=torch.float64)
    torch.testing.assert_close(new(clip), conv(clip), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(fuse(new)(clip), conv(clip), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("number", [1, 2, 5, 9])
def test_spatial_truncation_is_eckart_and_youngs(number: int) -> None:
    # With all temporal atoms kept, the best fit is the truncated SVD of one unfolding.
    conv = _conv((3, 3, 3))
    new, errors = decompose(conv, num_spatial_atoms=number)
    unfolded = conv.weight.detach().permute(3, 4, 0, 1, 2).reshape(9, -1)
    values = torch.linalg.svdvals(unfolded)
    expected = (values[number:].square().sum() / values.square().sum()).sqrt()
    assert errors[""] == pytest.approx(float(expected), rel=1e-9, abs=1e-12)
    rest = (conv.weight - new.compose_weight()).detach().norm() / conv.weight.detach().norm()
    assert errors[""] == pytest.approx(float(rest), rel=1e-9, abs=1e-12)


@settings(max_examples=25)
@given(m=st.integers(1, 8), n=st.integers(1, 2), seed=st.integers(0, 99))
def test_no_random_start_fits_better_by_descent(m: int, n: int, seed: int) -> None:
    """Alternating projections from random atoms, written out by least squares, as the judge."""
    conv = _conv((3, 3, 3), seed)
    _, errors = decompose(conv, m, n)
    weight_XTS = conv.weight.detach().reshape(24, 3, 9)
    spatial = torch.randn(9, m, dtype=torch.float64)
    temporal = torch.randn(3, n, dtype=torch.float64)
    for _ in range(30):
        spatial = torch.linalg.svd(
            torch.einsum("xts,tn->sxn", weight_XTS, torch.linalg.qr(temporal).Q).flatten(1)
        ).U[:, :m]
        temporal = torch.linalg.svd(torch.einsum("xts,sm->txm", weight_XTS, spatial).flatten(1)).U[
            :, :n
        ]
    fitted = torch.einsum("xts,sm,rm,tn,un->xur", weight_XTS, spatial, spatial, temporal, temporal)
    random_start = float((weight_XTS - fitted).norm() / weight_XTS.norm())
    # Of noise, as here, optima are many and differ little.
    assert errors[""] <= random_start * 1.001


@settings(max_examples=30)
@given(
    kernel=st.tuples(st.integers(2, 4), st.integers(1, 3), st.integers(2, 4)),
    seed=st.integers(0, 999),
    m=st.integers(1, 12),
    n=st.integers(1, 4),
)
# Of these the iteration that begins with the spatial atoms ends in a worse optimum.
@example(kernel=(3, 2, 2), seed=1, m=1, n=1)
@example(kernel=(4, 2, 2), seed=5, m=2, n=1)
def test_the_fit_is_no_worse_than_tensorlys_partial_tucker(
    kernel: tuple[int, int, int], seed: int, m: int, n: int
) -> None:
    """On the same ranks, and its iteration as close to convergence as it goes."""
    tensorly = pytest.importorskip("tensorly")
    from tensorly.decomposition import partial_tucker

    conv = _conv(kernel, seed)
    k_t, k_s = kernel[0], kernel[1] * kernel[2]
    m, n = min(m, k_s), min(n, k_t)
    _, errors = decompose(conv, m, n)
    weight_XTS = conv.weight.detach().reshape(24, k_t, k_s)
    with tensorly.backend_context("pytorch"):
        (core, factors), _ = partial_tucker(
            weight_XTS, rank=[n, m], modes=[1, 2], n_iter_max=200, tol=1e-12
        )
        fitted = tensorly.tenalg.multi_mode_dot(core, factors, modes=[1, 2])
    theirs = float((weight_XTS - fitted).norm() / weight_XTS.norm())
    assert errors[""] <= theirs * (1 + 1e-6) + 1e-12


def test_a_fit_is_a_fixed_point_of_both_least_squares_problems() -> None:
    """Given either kind of atoms no others of the other kind fit better: by SVD of what is seen."""
    conv = _conv((3, 3, 3), 5)
    new, errors = decompose(conv, 4, 2)
    weight_XTS = conv.weight.detach().reshape(24, 3, 9)
    spatial, temporal = new.spatial_atoms.detach().flatten(1), new.temporal_atoms.detach()
    kept = 1 - errors[""] ** 2
    for seen, number in (
        (torch.einsum("xts,nt->sxn", weight_XTS, temporal), 4),
        (torch.einsum("xts,ms->txm", weight_XTS, spatial), 2),
    ):
        values = torch.linalg.svdvals(seen.flatten(1)).square()[:number]
        best = float(values.sum() / weight_XTS.square().sum())
        assert kept == pytest.approx(best, rel=1e-9)


def test_a_filter_of_zeros_has_no_error() -> None:
    conv = nn.Conv3d(2, 3, 3)
    nn.init.zeros_(conv.weight)
    new, errors = decompose(conv, 2, 2)
    assert errors == {"": 0.0}
    assert not new.compose_weight().any()


def test_atoms_of_a_filter_that_has_them_are_found() -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(5, 7, 3, num_spatial_atoms=4, num_temporal_atoms=2, dtype=torch.float64)
    _, errors = decompose(fuse(layer), 4, 2)
    assert errors[""] < 1e-7


def test_only_spatiotemporal_convolutions_are_taken_and_numbers_are_capped() -> None:
    net = nn.Sequential(
        nn.Conv3d(1, 2, (1, 3, 3)),
        nn.Conv3d(2, 2, (3, 1, 1)),
        nn.Conv3d(2, 2, (2, 1, 3)),
        nn.Sequential(nn.Conv3d(2, 2, 3), nn.BatchNorm3d(2)),
    )
    before = [p.clone() for p in net.parameters()]
    new, errors = decompose(net, 6, 3)
    assert set(errors) == {"2", "3.0"}
    assert (new[2].num_spatial_atoms, new[2].num_temporal_atoms) == (3, 2)
    assert (new[3][0].num_spatial_atoms, new[3][0].num_temporal_atoms) == (6, 3)
    assert new[0] is not net[0]
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))
    assert set(decompose(net, skip=["3"])[1]) == {"2"}
    with pytest.raises(ValueError, match="skip names no module: 4"):
        decompose(net, skip=["4"])
    with pytest.raises(ValueError, match="num_spatial_atoms must be at least 1 or None, not 0"):
        decompose(net, 0)


def test_a_shared_layer_stays_shared_and_what_is_frozen_stays_frozen() -> None:
    conv = nn.Conv3d(2, 2, 3, padding=1)
    conv.weight.requires_grad_(False)
    net = nn.Sequential(conv, nn.ReLU(), conv).eval()
    new, errors = decompose(net, 2, 2)
    assert len(errors) == 1
    assert new[0] is new[2]
    assert not new.training
    assert not new[0].training
    assert not new[0].coefficients.requires_grad
    assert new[0].bias.requires_grad


@pytest.mark.slow
@pytest.mark.parametrize("name", ["r3d_18", "mc3_18"])
def test_round_trip_of_torchvisions_networks(name: str) -> None:
    from torchvision.models import video

    torch.manual_seed(0)
    net = getattr(video, name)(num_classes=5).eval()
    clip = torch.randn(1, 3, 4, 32, 32)
    decomposed, errors = decompose(net)
    assert errors
    assert max(errors.values()) < 1e-6
    fused = fuse(decomposed)
    with torch.no_grad():
        expected = net(clip)
        scale = float(expected.abs().max())
        assert float((decomposed(clip) - expected).abs().max()) <= 1e-5 * scale
        assert float((fused(clip) - expected).abs().max()) <= 1e-5 * scale
    # Plain modules alone: they load where this library is not.
    assert not any(type(m).__module__.startswith("stdcf") for m in fused.modules())
    buffer = io.BytesIO()
    torch.save(fused.state_dict(), buffer)
    buffer.seek(0)
    fresh = getattr(video, name)(num_classes=5).eval()
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        assert torch.equal(fresh(clip), fused(clip))


def test_a_fused_network_is_exported_by_torchs_own_operators() -> None:
    net = nn.Sequential(STDCFConv3d(2, 4, 3, padding=1), nn.ReLU(), STDCFConv3d(4, 3, 3)).eval()
    clip = torch.randn(1, 2, 6, 6, 6)
    program = torch.export.export(fuse(net), (clip,))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert called == {"aten.conv3d.default", "aten.relu.default"}
    torch.testing.assert_close(program.module()(clip), net(clip), rtol=1e-5, atol=1e-5)


def test_fused_dilated_layer_is_a_dilated_convolution() -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(2, 3, 3, padding=1, dtype=torch.float64)
    layer.set_dilation(temporal=2, spatial=3)
    fused = fuse(layer)
    assert isinstance(fused, nn.Conv3d)
    clip = torch.randn(1, 2, 9, 9, 9, dtype=torch.float64)
    expected = F.conv3d(
        clip, layer.compose_weight(), layer.bias, padding=(2, 3, 3), dilation=(2, 3, 3)
    )
    torch.testing.assert_close(fused(clip), expected)
