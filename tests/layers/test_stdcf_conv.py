"""The STDCF layer as a module: its constructor, its parameters and how it travels."""

import copy
import inspect
import io
import pickle

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from stdcf import STDCFConv3d
from stdcf.layers.plain import PLANS


def test_constructor_is_conv3ds_with_keyword_options_after_it() -> None:
    ours = list(inspect.signature(STDCFConv3d).parameters.values())
    theirs = list(inspect.signature(nn.Conv3d).parameters.values())
    assert [(p.name, p.default) for p in ours[: len(theirs)]] == [
        (p.name, p.default) for p in theirs
    ]
    assert all(p.kind is p.KEYWORD_ONLY for p in ours[len(theirs) :])


def test_parameter_shapes_and_count() -> None:
    layer = STDCFConv3d(8, 12, (3, 5, 7), groups=4, num_spatial_atoms=5, num_temporal_atoms=2)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "spatial_atoms": (5, 5, 7),
        "temporal_atoms": (2, 3),
        "coefficients": (12, 2, 10),
        "bias": (12,),
    }
    assert layer.compose_weight().shape == (12, 2, 3, 5, 7)
    layer = STDCFConv3d(16, 32, 3, bias=False, num_spatial_atoms=3, num_temporal_atoms=2)
    # MN·C_in·C_out + M·k² + N·t (§2.4)
    assert sum(p.numel() for p in layer.parameters()) == 6 * 16 * 32 + 3 * 9 + 2 * 3
    assert layer.bias is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"groups": 2}, "groups"),
        ({"groups": 0}, "groups"),
        ({"in_channels": 0}, "in_channels"),
        ({"out_channels": -1}, "out_channels"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": (3, 3)}, "kernel_size"),
        ({"kernel_size": (3, 3, 2.5)}, "kernel_size"),
        ({"kernel_size": "3"}, "kernel_size"),
        ({"stride": 0}, "stride"),
        ({"stride": None}, "stride"),
        ({"dilation": (1, 0, 1)}, "dilation"),
        ({"padding": -1}, "padding"),
        ({"padding": "full"}, "padding"),
        ({"padding": "same", "stride": (1, 2, 1)}, "stride"),
        ({"padding_mode": "mirror"}, "padding_mode"),
        ({"num_spatial_atoms": 0}, "num_spatial_atoms"),
        ({"num_temporal_atoms": -2}, "num_temporal_atoms"),
        ({"plan": "fast"}, "plan"),
        ({"init": "zeros"}, "init"),
        ({"init": "fourier_bessel", "num_spatial_atoms": 7}, "there are 6 Fourier–Bessel atoms"),
    ],
)
def test_arguments_that_make_no_convolution(options: dict[str, object], named: str) -> None:
    arguments = {"in_channels": 3, "out_channels": 4, "kernel_size": 3} | options
    with pytest.raises(ValueError, match=named) as raised:
        STDCFConv3d(**arguments)
    assert "\n" not in str(raised.value)


def test_plan_can_be_set_later_and_refuses_unknown_names() -> None:
    layer = STDCFConv3d(2, 3, 3)
    with pytest.raises(ValueError, match=r"auto.*composed.*factored.*'quick'"):
        layer.plan = "quick"
    assert layer.plan == "auto"
    layer.plan = "factored"
    assert "plan='factored'" in repr(layer)


@pytest.mark.parametrize("plan", PLANS)
def test_state_dict_deepcopy_and_pickle_keep_output(plan: str) -> None:
    layer = STDCFConv3d(4, 6, 3, padding=1, groups=2, plan=plan)
    x = torch.randn(2, 4, 5, 6, 7)
    expected = layer(x)
    fresh = STDCFConv3d(4, 6, 3, padding=1, groups=2, plan=plan)
    assert not torch.equal(fresh(x), expected)
    fresh.load_state_dict(layer.state_dict())
    for other in (fresh, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), expected)
        assert other.plan == plan
        assert all(p is not q for p, q in zip(layer.parameters(), other.parameters(), strict=True))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True).keys() == layer.state_dict().keys()


def test_a_state_of_the_first_version_loads() -> None:
    """Names, shapes and the order of coefficients, i·N + j, never change."""
    state = {
        "spatial_atoms": torch.tensor([[[1.0, 0.0]], [[0.0, 10.0]], [[0.0, 0.0]]]),
        "temporal_atoms": torch.tensor([[1.0, 0.0], [0.0, 100.0]]),
        "coefficients": torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]]),
        "bias": torch.tensor([0.5]),
    }
    layer = STDCFConv3d(1, 1, (2, 1, 2), num_spatial_atoms=3, num_temporal_atoms=2)
    assert {name: v.shape for name, v in layer.state_dict().items()} == {
        name: v.shape for name, v in state.items()
    }
    layer.load_state_dict(state)
    # α^00 ψ_0 φ_0 is at the first frame's left, α^01 at the second's, α^10 at the first's right.
    expected = torch.tensor([[1.0, 30.0], [200.0, 4000.0]])
    assert torch.equal(layer.compose_weight()[0, 0, :, 0], expected)
    for layer.plan in PLANS:
        assert float(layer(torch.ones(1, 1, 2, 1, 2)).detach()) == 0.5 + float(expected.sum())


@pytest.mark.parametrize("plan", [*PLANS, "auto"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(1, 3, 5, 5, 5), "expected an input of 4 channels, not 3"),
        (torch.ones(1, 8, 5, 5, 5), "expected an input of 4 channels, not 8"),
        (torch.ones(2, 5, 5, 5), "expected an input of 4 channels, not 2"),
        (torch.ones(4, 5, 5), r"expected an input .*, not \[4, 5, 5\]"),
        (torch.ones(1, 1, 4, 5, 5, 5), r"expected an input .*, not \[1, 1, 4, 5, 5, 5\]"),
        (torch.ones(1, 4, 1, 5, 5), r"the filter reaches over \(3, 5, 3\), more than there is"),
        (torch.ones(1, 4, 0, 5, 5), "the filter reaches over"),
        (torch.ones(1, 4, 5, 5, 5).double(), "the input is torch.float64 and the coefficients"),
        (torch.ones(1, 4, 5, 5, 5).bfloat16(), "the input is torch.bfloat16"),
        (torch.ones(1, 4, 5, 5, 5).long(), "the input is torch.int64"),
    ],
)
def test_what_conv3d_refuses_every_plan_refuses_alike(
    plan: str, x: torch.Tensor, message: str
) -> None:
    options = {"padding": (0, 1, 1), "dilation": (1, 2, 1), "groups": 2, "stride": 2}
    with pytest.raises(RuntimeError):
        nn.Conv3d(4, 6, 3, **options)(x)
    layer = STDCFConv3d(4, 6, 3, plan=plan, **options)
    with pytest.raises(RuntimeError, match=message) as raised:
        layer(x)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("plan", PLANS)
def test_autocast_takes_inputs_of_any_type(plan: str) -> None:
    layer = STDCFConv3d(4, 6, 3, plan=plan)
    x = torch.randn(1, 4, 5, 5, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x.bfloat16()), layer(x))
        assert layer.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("plan", PLANS)
def test_meta_device(plan: str) -> None:
    layer = STDCFConv3d(4, 6, 3, padding=1, device="meta", plan=plan)
    assert {p.device.type for p in layer.parameters()} == {"meta"}
    assert layer(torch.empty(1, 4, 5, 6, 7, device="meta")).shape == (1, 6, 5, 6, 7)
    layer.to_empty(device="cpu").reset_parameters()
    assert torch.isfinite(layer(torch.ones(1, 4, 5, 6, 7))).all()


def test_is_built_on_fake_tensors() -> None:
    with FakeTensorMode():
        layer = STDCFConv3d(4, 6, 3, padding=1)
        assert layer(torch.empty(1, 4, 5, 6, 7)).shape == (1, 6, 5, 6, 7)


@pytest.mark.parametrize("plan", PLANS)
def test_bfloat16_autocast_trains(plan: str) -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(4, 6, 3, padding=1, plan=plan)
    x = torch.randn(2, 4, 5, 6, 7, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.float().square().mean().backward()
    assert all(p.grad.dtype == torch.float32 for p in layer.parameters())
    # bfloat16 carries 8 significant bits, and each output is a sum of rounded terms.
    assert torch.allclose(y.float(), layer(x), atol=0.05)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype(plan: str, dtype: torch.dtype) -> None:
    layer = STDCFConv3d(4, 6, 3, padding=1, dtype=dtype, plan=plan)
    assert {p.dtype for p in layer.parameters()} == {dtype}
    assert layer(torch.randn(1, 4, 5, 6, 7, dtype=dtype)).dtype == dtype
    assert all(torch.isfinite(p).all() for p in layer.parameters())


def test_channels_last_conversion_as_a_whole_keeps_output() -> None:
    layer = STDCFConv3d(4, 6, 3, padding=1, dtype=torch.float64)
    x = torch.randn(2, 4, 5, 6, 7, dtype=torch.float64)
    expected = layer(x)
    layer.to(memory_format=torch.channels_last_3d)
    got = layer(x.contiguous(memory_format=torch.channels_last_3d))
    assert torch.allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_parts_name_every_filter_parameter_once_and_no_bias() -> None:
    layer = STDCFConv3d(4, 6, 3)
    parts = layer.parts()
    assert parts["spatial"] == [layer.spatial_atoms]
    assert parts["temporal"] == [layer.temporal_atoms]
    assert parts["joint"] == [layer.coefficients]


def test_swap_takes_atoms_of_any_layout_dtype_and_history() -> None:
    layer = STDCFConv3d(2, 3, 3, padding=1, dtype=torch.float64)
    layer.temporal_atoms.requires_grad_(False)
    spatial = torch.randn(3, 7, 5, requires_grad=True).transpose(1, 2)
    temporal = torch.randn(5, 2).T
    layer.swap_atoms(spatial, temporal)
    x = torch.randn(1, 2, 8, 8, 8, dtype=torch.float64)
    assert layer.kernel_size == (5, 5, 7)
    assert layer.padding == (2, 2, 3)
    outputs = []
    for layer.plan in PLANS:
        outputs.append(layer(x))
        assert outputs[-1].shape == (1, 3, 8, 8, 8)
        assert torch.allclose(outputs[0], outputs[-1], rtol=1e-12, atol=1e-12)
    assert layer.spatial_atoms.is_leaf
    assert layer.spatial_atoms.dtype == torch.float64
    assert layer.spatial_atoms.requires_grad
    assert not layer.temporal_atoms.requires_grad


def test_swap_copies() -> None:
    layer = STDCFConv3d(2, 3, 3)
    spatial, temporal = torch.randn(3, 5, 5), torch.randn(2, 5)
    layer.swap_atoms(spatial, temporal)
    before = layer.compose_weight()
    spatial.zero_()
    temporal.zero_()
    assert torch.equal(layer.compose_weight(), before)


@pytest.mark.parametrize(
    ("spatial", "temporal", "message"),
    [
        (
            torch.ones(4, 3, 3),
            None,
            r"spatial atoms must have shape \[3, kH, kW\], not \[4, 3, 3\]",
        ),
        (torch.ones(3, 9), None, "spatial atoms"),
        (torch.ones(3, 0, 3), None, "spatial atoms"),
        (None, torch.ones(2), r"temporal atoms must have shape \[2, kT\], not \[2\]"),
        (torch.ones(3, 5, 5), torch.ones(3, 3), "temporal atoms"),
        (torch.ones(3, 5, 5), torch.ones(2, 4), "no whole padding"),
        (torch.ones(3, 1, 1), torch.ones(2, 1), "no whole padding"),
    ],
)
def test_refused_swap_changes_nothing(
    spatial: torch.Tensor | None, temporal: torch.Tensor | None, message: str
) -> None:
    layer = STDCFConv3d(2, 3, 3, padding=0)
    before = list(layer.parameters()), layer.kernel_size, layer.padding
    with pytest.raises(ValueError, match=message):
        layer.swap_atoms(spatial, temporal)
    assert all(p is q for p, q in zip(before[0], layer.parameters(), strict=True))
    assert (layer.kernel_size, layer.padding) == before[1:]


def test_parameters_of_any_layout_are_taken() -> None:
    layer = STDCFConv3d(2, 3, 3, padding=1)
    state = {
        "spatial_atoms": layer.spatial_atoms.detach()
        .permute(2, 1, 0)
        .contiguous()
        .permute(2, 1, 0),
        "temporal_atoms": layer.temporal_atoms.detach().T.contiguous().T,
        "coefficients": layer.coefficients.detach().permute(2, 0, 1).contiguous().permute(1, 2, 0),
        "bias": layer.bias.detach(),
    }
    x = torch.randn(1, 2, 5, 5, 5)
    expected = layer(x)
    layer.load_state_dict(state, assign=True)
    for layer.plan in PLANS:
        assert torch.allclose(layer(x), expected, atol=1e-6)


@pytest.mark.parametrize(("temporal", "spatial"), [(0, 1), (1, 0), (-1, 1), (1.5, 1)])
def test_set_dilation_refuses_what_is_no_dilation(temporal: float, spatial: float) -> None:
    layer = STDCFConv3d(2, 3, 3, padding=1)
    with pytest.raises(ValueError, match="dilation"):
        layer.set_dilation(temporal, spatial)
    assert (layer.dilation, layer.padding) == ((1, 1, 1), (1, 1, 1))
