"""Laws of the layers: each plan is a dense convolution, and dilation is stuffing with zeros.

The dense filter is summed here by loops over atoms; nn.Conv3d, given that filter, is the judge.
"""

import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from baselines.layers import Rank1Conv3d
from stdcf import STDCFConv3d, set_dilation
from stdcf.layers.padding import PADDING_MODES
from stdcf.layers.plain import PLANS

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

RELATIVE = 1e-10
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """A convolution, its atoms and an input that is large enough for it at twice its dilation."""

    in_channels: int
    out_channels: int
    kernel_size: Triple
    stride: Triple
    padding: int | Triple | str
    dilation: Triple
    groups: int
    bias: bool
    padding_mode: str
    input_shape: tuple[int, ...]
    num_spatial_atoms: int
    num_temporal_atoms: int
    seed: int

    @property
    def conv_options(self) -> dict[str, Any]:
        """nn.Conv3d's arguments."""
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation")
        names += ("groups", "bias", "padding_mode")
        return {name: getattr(self, name) for name in names} | {"dtype": torch.float64}

    def stdcf(self, plan: str = "auto") -> STDCFConv3d:
        torch.manual_seed(self.seed)
        return STDCFConv3d(
            **self.conv_options,
            num_spatial_atoms=self.num_spatial_atoms,
            num_temporal_atoms=self.num_temporal_atoms,
            plan=plan,
        )

    def input(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(self.input_shape, generator=generator, dtype=torch.float64)


@st.composite
def cases(draw: st.DrawFn, max_dilation: int = 2) -> Case:
    groups = draw(st.integers(1, 3))
    kernel_size = draw(st.tuples(*[st.integers(1, 4)] * 3))
    dilation_t, dilation_s = draw(st.tuples(*[st.integers(1, max_dilation)] * 2))
    dilation = (dilation_t, dilation_s, draw(st.sampled_from([dilation_s, 1])))
    padding = draw(
        st.one_of(
            st.integers(0, 2),
            st.tuples(*[st.integers(0, 2)] * 3),
            st.sampled_from(["same", "valid"]),
        )
    )
    strides = st.just(1) if padding == "same" else st.integers(1, 3)
    # Reflecting needs less padding than there is input, at each dilation that a test sets.
    sizes = [
        2 * max_dilation * (k - 1) + draw(st.integers(3, 5)) if k > 1 else draw(st.integers(3, 6))
        for k in kernel_size
    ]
    in_channels = groups * draw(st.integers(1, 2))
    return Case(
        in_channels=in_channels,
        out_channels=groups * draw(st.integers(1, 2)),
        kernel_size=kernel_size,
        stride=draw(st.tuples(strides, strides, strides)),
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(PADDING_MODES)),
        input_shape=(draw(st.integers(1, 2)), in_channels, *sizes),
        num_spatial_atoms=draw(st.integers(1, 4)),
        num_temporal_atoms=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 2**16)),
    )


def looped_weight(layer: STDCFConv3d) -> Tensor:
    """Equation 1 as it is written: Σ_i Σ_j α^ij ψ_i φ_j."""
    m, n = len(layer.spatial_atoms), len(layer.temporal_atoms)
    weight = torch.zeros(1, dtype=torch.float64)
    for i in range(m):
        for j in range(n):
            atom = layer.temporal_atoms[j][:, None, None] * layer.spatial_atoms[i][None]
            weight = weight + layer.coefficients[:, :, i * n + j][..., None, None, None] * atom
    return weight


def dense(options: dict[str, Any], weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """nn.Conv3d with a filter of our own."""
    options = options | {"bias": bias is not None, "kernel_size": tuple(weight.shape[2:])}
    conv = nn.Conv3d(**options)
    return functional_call(conv, {"weight": weight} | ({} if bias is None else {"bias": bias}), x)


def stuffed(kernel: Tensor, factors: tuple[int, ...]) -> Tensor:
    """Zeros between the taps of the last axes: size k becomes d·(k − 1) + 1."""
    lead = kernel.ndim - len(factors)
    sizes = [d * (k - 1) + 1 for k, d in zip(kernel.shape[lead:], factors, strict=True)]
    result = kernel.new_zeros(*kernel.shape[:lead], *sizes)
    result[(..., *(slice(None, None, d) for d in factors))] = kernel
    return result


def assert_close(got: Tensor, expected: Tensor, what: str) -> None:
    assert got.shape == expected.shape, what
    scale = float(expected.detach().abs().max())
    error = float((got - expected).detach().abs().max())
    assert error <= RELATIVE * scale, f"{what}: {error:.3g} at a scale of {scale:.3g}"


def padding_after(case: Case, dilation: Triple) -> str | Triple | None:
    """padding + (d_new − d_old)·(k − 1)/2 per axis; None where that is not a whole number ≥ 0."""
    if case.padding == "same":
        return "same"
    if case.padding == "valid":
        old: Triple = (0, 0, 0)
    else:
        old = (case.padding,) * 3 if isinstance(case.padding, int) else case.padding
    twice = [
        2 * p + (new - d) * (k - 1)
        for p, new, d, k in zip(old, dilation, case.dilation, case.kernel_size, strict=True)
    ]
    if any(amount % 2 or amount < 0 for amount in twice):
        return None
    t, h, w = (amount // 2 for amount in twice)
    return (t, h, w)


@given(case=cases())
def test_every_plan_equals_a_dense_convolution(case: Case) -> None:
    reference = case.stdcf()
    x = case.input().requires_grad_(True)
    names = [name for name, _ in reference.named_parameters()]
    expected = dense(case.conv_options, looped_weight(reference), reference.bias, x)
    grad = torch.randn(expected.shape, dtype=torch.float64)
    expected_grads = torch.autograd.grad(expected, [x, *reference.parameters()], grad)

    assert_close(reference.compose_weight(), looped_weight(reference), "compose_weight")
    for plan in ("auto", *PLANS):
        layer = case.stdcf(plan)
        got = layer(x)
        assert_close(got, expected, plan)
        got_grads = torch.autograd.grad(got, [x, *layer.parameters()], grad)
        for name, got_grad, expected_grad in zip(
            ["x", *names], got_grads, expected_grads, strict=True
        ):
            assert_close(got_grad, expected_grad, f"{plan}: gradient of {name}")


@given(case=cases())
def test_unbatched_and_permuted_inputs_are_taken_as_by_a_dense_convolution(case: Case) -> None:
    layer = case.stdcf()
    x = case.input()
    expected = dense(case.conv_options, looped_weight(layer), layer.bias, x)
    for plan in PLANS:
        layer.plan = plan
        assert_close(layer(x[0]), expected[0], f"{plan}, one clip")
        permuted = x.contiguous(memory_format=torch.channels_last_3d)
        assert_close(layer(permuted), expected, f"{plan}, channels_last_3d")


@given(case=cases(), temporal=st.integers(1, 3), spatial=st.integers(1, 3))
def test_set_dilation_equals_zero_stuffed_atoms(case: Case, temporal: int, spatial: int) -> None:
    new = (temporal, spatial, spatial)
    padding = padding_after(case, new)
    layer = case.stdcf()
    before = _geometry(layer)
    if padding is None:
        with pytest.raises(ValueError, match="no whole padding"):
            set_dilation(layer, temporal, spatial)
        assert _geometry(layer) == before
        return
    x = _input_for(case, new)
    shape = layer(x).shape
    assert set_dilation(layer, temporal, spatial) == [""]
    options = case.conv_options | {"padding": padding, "dilation": 1}
    expected = dense(options, stuffed(looped_weight(layer), new), layer.bias, x)
    assert expected.shape == shape
    for plan in PLANS:
        layer.plan = plan
        assert_close(layer(x), expected, plan)


@given(case=cases(), factor_t=st.integers(1, 3), factor_s=st.integers(1, 3))
def test_swapping_to_stuffed_atoms_equals_set_dilation(
    case: Case, factor_t: int, factor_s: int
) -> None:
    d_t, d_s, _ = case.dilation
    case = replace(case, dilation=(d_t, d_s, d_s))
    new = (d_t * factor_t, d_s * factor_s, d_s * factor_s)
    swapped, dilated = case.stdcf(), case.stdcf()
    spatial = stuffed(swapped.spatial_atoms.detach(), (factor_s, factor_s))
    temporal = stuffed(swapped.temporal_atoms.detach(), (factor_t,))
    if padding_after(case, new) is None:
        before = _geometry(swapped)
        with pytest.raises(ValueError, match="no whole padding"):
            swapped.swap_atoms(spatial, temporal)
        assert _geometry(swapped) == before
        assert swapped.spatial_atoms.shape[1:] == case.kernel_size[1:]
        with pytest.raises(ValueError, match="no whole padding"):
            dilated.set_dilation(new[0], new[1])
        return
    x = _input_for(case, new)
    shape = swapped(x).shape
    swapped.swap_atoms(spatial, temporal)
    dilated.set_dilation(new[0], new[1])
    assert swapped.kernel_size[0] == factor_t * (case.kernel_size[0] - 1) + 1
    for plan in PLANS:
        swapped.plan = dilated.plan = plan
        assert swapped(x).shape == shape
        assert_close(swapped(x), dilated(x), plan)


@given(case=cases(), temporal=st.integers(1, 3), spatial=st.integers(1, 3))
def test_set_dilation_of_a_dense_convolution(case: Case, temporal: int, spatial: int) -> None:
    new = (temporal, spatial, spatial)
    torch.manual_seed(case.seed)
    conv = nn.Conv3d(**case.conv_options)
    model = nn.Sequential(nn.Identity(), conv)
    before = _geometry(conv)
    k_t, k_h, k_w = case.kernel_size
    if k_t == 1 or k_h * k_w == 1:
        assert set_dilation(model, temporal, spatial) == []
        assert _geometry(conv) == before
        return
    padding = padding_after(case, new)
    if padding is None:
        with pytest.raises(ValueError, match=r"1: no whole padding"):
            set_dilation(model, temporal, spatial)
        assert _geometry(conv) == before
        return
    x = _input_for(case, new)
    shape = model(x).shape
    assert set_dilation(model, temporal, spatial) == ["1"]
    options = case.conv_options | {"padding": padding, "dilation": 1}
    expected = dense(options, stuffed(conv.weight, new), conv.bias, x)
    assert expected.shape == shape
    assert_close(conv(x), expected, "dilated nn.Conv3d")


@given(case=cases())
def test_dilating_there_and_back_changes_nothing(case: Case) -> None:
    d_t, d_s, _ = case.dilation
    case = replace(case, dilation=(d_t, d_s, d_s))
    torch.manual_seed(case.seed)
    x = case.input()
    for layer in (case.stdcf(), nn.Conv3d(**case.conv_options), Rank1Conv3d(**case.conv_options)):
        before = layer(x)
        try:
            set_dilation(layer, d_t + 2, d_s + 1)
        except ValueError:
            continue
        set_dilation(layer, d_t, d_s)
        assert torch.equal(layer(x), before)


@given(case=cases())
def test_rank1_without_bias_equals_a_dense_convolution(case: Case) -> None:
    """Exact for every padding: without bias, W_s maps a frame of zeros to zeros, so padding the
    maps between the two with zeros is padding the clip; the other padding modes copy frames.
    Exact at every stride too, since W_s strides over space alone and W_t over time alone.
    """
    torch.manual_seed(case.seed)
    layer = Rank1Conv3d(**case.conv_options | {"bias": False})
    weight = looped_rank1_weight(layer, case)
    x = case.input().requires_grad_(True)
    expected = dense(case.conv_options, weight, None, x)
    got = layer(x)
    assert_close(got, expected, "output")
    grad = torch.randn(expected.shape, dtype=torch.float64)
    wanted = [x, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad(got, wanted, grad),
        torch.autograd.grad(expected, wanted, grad),
        strict=True,
    ):
        assert_close(a, b, "gradient")


def looped_rank1_weight(layer: Rank1Conv3d, case: Case) -> Tensor:
    """Σ over W_t's input channels, which are those of W_s's outputs in the same group."""
    w_s, w_t = layer.spatial.weight, layer.temporal.weight
    per_group = case.out_channels // case.groups
    filters = []
    for o in range(case.out_channels):
        first = o // per_group * per_group
        filters.append(sum(w_t[o, m] * w_s[first + m] for m in range(per_group)))
    return torch.stack(filters)


@given(case=cases())
def test_rank1_with_bias_is_dense_only_away_from_zero_padded_frames(case: Case) -> None:
    """W_s's bias enters every frame of the clip but none of the frames of zeros that W_t pads, so
    zero padding in time makes the border differ, whereas padding by copies stays exact."""
    torch.manual_seed(case.seed)
    layer = Rank1Conv3d(**case.conv_options | {"bias": True, "padding": (1, 0, 0), "stride": 1})
    x = case.input()
    shift = layer.temporal.weight.sum((2, 3, 4)) @ _own_group(layer.spatial.bias, case)
    expected = dense(
        case.conv_options | {"padding": (1, 0, 0), "stride": 1},
        looped_rank1_weight(layer, case),
        shift.diagonal() + layer.temporal.bias,
        x,
    )
    got = layer(x)
    assert_close(got[:, :, 1:-1], expected[:, :, 1:-1], "inside")
    if case.padding_mode == "zeros":
        assert not torch.allclose(got[:, :, 0], expected[:, :, 0], rtol=1e-6, atol=1e-9)
    else:
        assert_close(got, expected, "with the border")


def _own_group(bias: Tensor, case: Case) -> Tensor:
    """[C_out/groups, C_out]: for each output channel, the biases of its own group."""
    per_group = case.out_channels // case.groups
    return torch.stack(
        [bias[o // per_group * per_group :][:per_group] for o in range(case.out_channels)], 1
    )


@given(case=cases(), temporal=st.integers(1, 3), spatial=st.integers(1, 3))
def test_dilated_rank1_equals_zero_stuffed_filters(case: Case, temporal: int, spatial: int) -> None:
    new = (temporal, spatial, spatial)
    torch.manual_seed(case.seed)
    layer = Rank1Conv3d(**case.conv_options | {"bias": False})
    before = _geometry(layer.spatial), _geometry(layer.temporal)
    padding = padding_after(case, new)
    if padding is None:
        with pytest.raises(ValueError, match="no whole padding"):
            layer.set_dilation(temporal, spatial)
        assert (_geometry(layer.spatial), _geometry(layer.temporal)) == before
        return
    x = _input_for(case, new)
    shape = layer(x).shape
    layer.set_dilation(temporal, spatial)
    options = case.conv_options | {"padding": padding, "dilation": 1}
    expected = dense(options, stuffed(looped_rank1_weight(layer, case), new), None, x)
    assert expected.shape == shape
    assert_close(layer(x), expected, "dilated rank1")


@given(case=cases(), fails_at=st.integers(0, 3), kind=st.sampled_from(["conv", "stdcf", "rank1"]))
def test_a_refusal_changes_nothing_anywhere(case: Case, fails_at: int, kind: str) -> None:
    """An even kernel has no whole padding at dilation 2; the layers before it could be set."""
    assume(case.padding != "same")
    good = case.conv_options | {"kernel_size": 3, "dilation": 1}
    bad = good | {"kernel_size": (2, 3, 3)}
    types = {"conv": nn.Conv3d, "stdcf": STDCFConv3d, "rank1": Rank1Conv3d}
    layers = [cls(**good) for cls in types.values()]
    layers.insert(fails_at, types[kind](**bad))
    model = nn.ModuleList([nn.Sequential(nn.ReLU(), layer) for layer in layers])
    before = [_geometry(module) for module in model.modules()]
    tensors = [(p, copy.deepcopy(p)) for p in model.parameters()]
    with pytest.raises(ValueError, match=rf"^{fails_at}\.1: no whole padding"):
        set_dilation(model, 2, 2)
    assert [_geometry(module) for module in model.modules()] == before
    assert [id(p) for p in model.parameters()] == [id(p) for p, _ in tensors]
    assert all(torch.equal(p, old) for p, old in tensors)


def _geometry(module: nn.Module) -> tuple[Any, ...]:
    names = ("kernel_size", "stride", "padding", "dilation", "_reversed_padding_repeated_twice")
    return tuple(copy.copy(getattr(module, name, None)) for name in names)


def _input_for(case: Case, dilation: Triple) -> Tensor:
    """Large enough to be padded by reflection at any of the dilations."""
    extents = [
        max(new, old) * (k - 1)
        for new, old, k in zip(dilation, case.dilation, case.kernel_size, strict=True)
    ]
    shape = (*case.input_shape[:2], *(extent + 4 for extent in extents))
    return torch.randn(shape, dtype=torch.float64)
