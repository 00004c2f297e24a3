"""The CPU kernel as an operator: torch's own checks, what its results depend on, no compiler."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stdcf import STDCFConv3d
from stdcf.layers.cpu import fused  # noqa: F401, it registers the operators
from stdcf.layers.cpu import library as library_module
from stdcf.layers.cpu.library import library, problem

if library() is None:
    pytest.skip(f"no CPU kernel: {problem()}", allow_module_level=True)

DTYPES = [torch.float32, torch.float64, torch.bfloat16]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last_3d}


@pytest.fixture
def filled() -> Iterator[None]:
    """New memory is full of NaN, so that what nobody wrote shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads is the test's to set."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def make(dtype: torch.dtype, layout: str, channels: int = 5) -> tuple[STDCFConv3d, Tensor]:
    torch.manual_seed(0)
    layer = STDCFConv3d(
        2 * channels, 6, 3, stride=(1, 2, 1), padding=1, groups=2, plan="factored", dtype=dtype
    )
    x = torch.randn(3, 2 * channels, 4, 7, 6).to(dtype).to(memory_format=LAYOUTS[layout])
    return layer, x.requires_grad_()


def everything(layer: STDCFConv3d, x: Tensor) -> list[Tensor]:
    """Output and all gradients."""
    y = layer(x)
    slope = torch.linspace(-1, 1, y.numel()).view(y.shape).to(y)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], slope)]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("dtype", "layout", "needs_x", "needs_atoms"),
    [
        (torch.float32, "contiguous", True, True),
        (torch.float64, "channels_last", False, True),
        (torch.bfloat16, "channels_last", True, False),
        (torch.bfloat16, "contiguous", False, False),
    ],
)
@pytest.mark.parametrize(
    "check",
    [
        "test_schema",
        "test_autograd_registration",
        "test_faketensor",
        pytest.param("test_aot_dispatch_dynamic", marks=pytest.mark.slow),
    ],
)
def test_torchs_checks_of_both_operators(
    check: str, dtype: torch.dtype, layout: str, needs_x: bool, needs_atoms: bool
) -> None:
    """The last compares the scratch memory, too: what nobody writes must be equal in both runs."""
    layer, x = make(dtype, layout)
    values = (x, layer.coefficients, layer.spatial_atoms, layer.temporal_atoms)
    geometry = ([1, 2, 1], [1, 1, 1], [1, 1, 1], 2)
    bias = layer.bias if needs_atoms else None
    slope = torch.randn_like(layer(x))
    needs = (needs_x, needs_atoms)
    for operator, arguments in (
        (torch.ops.stdcf.factored_conv3d.default, (*values, bias, *geometry)),
        (torch.ops.stdcf.factored_conv3d_backward.default, (slope, *values, *geometry, *needs)),
    ):
        torch.library.opcheck(operator, arguments, test_utils=check)


@pytest.mark.parametrize("channels", [1, 16, 37, 64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nothing_unwritten_is_read(
    dtype: torch.dtype, layout: str, channels: int, request: pytest.FixtureRequest
) -> None:
    layer, x = make(dtype, layout, channels)
    expected = everything(layer, x)
    request.getfixturevalue("filled")
    for a, b in zip(everything(layer, x), expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("channels", [16, 21, 64])
def test_maps_in_bfloat16_are_rounded_as_torch_rounds(channels: int) -> None:
    """To nearest, ties to even; what is infinite or no number stays so."""
    torch.manual_seed(0)
    layer = STDCFConv3d(
        channels, channels, 1, num_spatial_atoms=1, num_temporal_atoms=1, plan="factored",
        bias=False, dtype=torch.bfloat16,
    )  # fmt: skip
    with torch.no_grad():
        # Each output channel is one map, x·ψ, for 1 is exact.
        layer.coefficients.copy_(torch.eye(channels)[..., None])
        layer.temporal_atoms.fill_(1)
        layer.spatial_atoms.fill_(1.0078125)
        x = torch.randn(2, channels, 3, 8, 8).bfloat16()
        x[0, 0, 0, 0, :2] = torch.tensor([3.3895e38, -3.3895e38])
        # 1 + 2⁻⁷ times odd numbers below 2⁷ lies halfway between two of 8 bits, or near.
        x[1, -1] = torch.arange(192).view(3, 8, 8)
        expected = (x.float() * 1.0078125).bfloat16()
        assert expected[0, 0, 0, 0, :2].tolist() == [math.inf, -math.inf]
        # In the other channels it is multiplied by 0.
        expected[0, 1:, 0, 0, :2] = math.nan
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0, equal_nan=True)
        x.view(torch.int16)[0, 0, 0, 0, 2] = 0x7F81
        assert layer(x)[0, :, 0, 0, 2].isnan().all()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("channels", [5, 64])
def test_the_same_number_of_threads_gives_the_same_bits(channels: int, number: int) -> None:
    torch.set_num_threads(number)
    layer, x = make(torch.float32, "channels_last", channels)
    first = everything(layer, x)
    for _ in range(3):
        for a, b in zip(everything(layer, x), first, strict=True):
            assert torch.equal(a, b)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("channels", [1, 5, 64, 100, 128])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_threads_change_rounding_at_most(dtype: torch.dtype, layout: str, channels: int) -> None:
    """Sums of some hundred terms, in another order."""
    layer, x = make(dtype, layout, channels)
    torch.set_num_threads(1)
    one = everything(layer, x)
    for number in (2, 3, 5):
        torch.set_num_threads(number)
        for a, b in zip(everything(layer, x), one, strict=True):
            assert (a - b).abs().max() <= 1000 * torch.finfo(dtype).eps * b.abs().max()


def test_without_a_kernel_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STDCF_CACHE", str(tmp_path))
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\necho 'no such flag' >&2\nexit 1\n")
    broken.chmod(0o755)
    for variable, value, message in (
        ("STDCF_KERNEL", "0", "switched off by STDCF_KERNEL=0"),
        ("CXX", "no-such-compiler", r"no C\+\+ compiler .no-such-compiler.; install g\+\+"),
        ("CXX", str(broken), "broken-compiler failed: no such flag"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            with pytest.raises(OSError, match=message):
                library_module._compiled()
    assert not list(tmp_path.glob("kernels/*.so"))


def test_a_library_that_cannot_be_loaded_is_no_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.so").touch()
    monkeypatch.setattr(library_module, "_compiled", lambda: tmp_path / "empty.so")
    monkeypatch.setattr(library_module, "_problems", [])
    assert library.__wrapped__() is None
    assert "empty.so" in library_module._problems[0]
