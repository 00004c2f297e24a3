"""plan="auto": what it takes, why, and what measurements and limits change."""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from stdcf import STDCFConv3d
from stdcf.errors import UserError
from stdcf.layers import auto, plan_book, plans
from stdcf.layers.cpu.library import library
from stdcf.layers.plain import PLANS
from stdcf.memory import LifeTracker

SHAPE = (2, 16, 4, 12, 12)
needs_kernel = pytest.mark.skipif(library() is None, reason="no CPU kernel here")


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An own book of measurements, empty at first."""
    path = tmp_path / "books" / "plans.json"
    monkeypatch.setenv("STDCF_PLANS", str(path))
    yield path
    auto._choose.cache_clear()


def make(**options: object) -> STDCFConv3d:
    return STDCFConv3d(16, 16, 3, padding=1, **options)


def choice(layer: STDCFConv3d, shape: tuple[int, ...] = SHAPE) -> auto.Choice:
    found = auto.situation(*layer._call(torch.empty(shape, dtype=layer.coefficients.dtype)))
    return auto.choose(found, layer.memory_limit_bytes)


def was_fused(layer: nn.Module, x: Tensor) -> bool:
    """Whether a forward pass calls the kernel's operator."""
    called = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.add(str(func))
            return func(*args, **kwargs or {})

    with Watch():
        layer(x)
    return "stdcf.factored_conv3d.default" in called


def write(path: Path, layer: STDCFConv3d, **seconds: float) -> None:
    situation = auto.situation(*layer._call(torch.empty(SHAPE)))
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": "stdcf plans 1", "measured": {situation.key: {"seconds": seconds}}}
    path.write_text(json.dumps(content))


def test_the_fastest_by_the_estimate_is_taken() -> None:
    found = choice(make())
    assert found.source == "estimated"
    assert found.plan == min(found.estimates, key=lambda plan: found.estimates[plan].seconds)
    assert "composed" in found.estimates


@needs_kernel
def test_where_torchs_gradient_is_wrong_the_kernel_is_taken() -> None:
    """Two frames under a filter of three, in bfloat16."""
    torch.manual_seed(0)
    layer = make(dtype=torch.bfloat16)
    x = torch.randn(2, 16, 2, 12, 12).bfloat16()
    assert list(choice(layer, tuple(x.shape)).estimates) == ["factored"]
    layer(x).square().sum().backward()
    exact = make(dtype=torch.float64, plan="composed")
    exact.load_state_dict(layer.state_dict())
    exact(x.double()).square().sum().backward()
    for p, q in zip(layer.parameters(), exact.parameters(), strict=True):
        assert (p.grad - q.grad).abs().max() < 0.1 * q.grad.abs().max()


def test_without_a_kernel_the_composed_plan_is_taken() -> None:
    with patch.object(plans, "library", lambda: None):
        assert choice(make()).plan == "composed"
        assert not was_fused(make(), torch.ones(SHAPE))


def test_a_gpus_choice_is_made_without_one() -> None:
    with plans.modelled_device("cuda"):
        assert choice(make()).plan == "composed"


@needs_kernel
@pytest.mark.parametrize(("composed", "factored"), [(2.0, 1.0), (1.0, 2.0)])
def test_a_measurement_stands_above_the_estimate(
    book: Path, composed: float, factored: float
) -> None:
    layer = make()
    write(book, layer, composed=composed, factored=factored)
    found = choice(layer)
    assert (found.plan, found.source) == (
        "factored" if factored < composed else "composed",
        "measured",
    )
    assert was_fused(layer, torch.ones(SHAPE)) == (factored < composed)
    # Of another situation it says nothing.
    assert choice(layer, (3, *SHAPE[1:])).source == "estimated"
    with patch.object(plans, "library", lambda: None):
        assert choice(layer).source == "estimated"
    # What this version has no plan for is passed over.
    write(book, layer, quantum=0.0, composed=composed)
    assert choice(layer).plan == "composed"


@needs_kernel
def test_a_memory_limit_rules_plans_out(book: Path) -> None:
    layer = make()
    temporaries = {plan: e.temporary_bytes for plan, e in choice(layer).estimates.items()}
    lean, fat = sorted(temporaries, key=temporaries.__getitem__)
    write(book, layer, **{lean: 2.0, fat: 1.0})
    for limit, plan, source in (
        (None, fat, "measured"),
        (temporaries[fat], fat, "measured"),
        (temporaries[fat] - 1, lean, "measured"),
        (0, lean, "leanest, none within the limit"),
    ):
        layer.memory_limit_bytes = limit
        found = choice(layer)
        assert (found.plan, found.source) == (plan, source)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float64], ids=str)
def test_tune_measures_keeps_and_says(book: Path, dtype: torch.dtype | None) -> None:
    layer = make()
    before = [p.detach().clone() for p in layer.parameters()]
    text = layer.tune(SHAPE, dtype)
    assert "(measured) for 2×16×4×12×12" in text
    assert layer.explain(SHAPE, dtype) == text
    (entry,) = json.loads(book.read_text())["measured"].values()
    assert "composed" in entry["seconds"]
    assert set(entry["seconds"]) <= set(PLANS)
    assert text.startswith(min(entry["seconds"], key=entry["seconds"].get))
    assert entry["torch"] == torch.__version__
    for p, old in zip(layer.parameters(), before, strict=True):
        assert torch.equal(p, old)
        assert p.grad is None
    # Other situations go beside the first.
    layer.tune((1, *SHAPE[1:]), dtype)
    assert "2×16×4×12×12, channels last" in layer.tune(SHAPE, dtype, torch.channels_last_3d)
    assert len(json.loads(book.read_text())["measured"]) == 3


@needs_kernel
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("shape", [(4, 64, 8, 28, 28), (2, 256, 4, 7, 7), (8, 16, 8, 20, 30)])
@pytest.mark.parametrize("plan", ["composed", "factored"])
def test_the_estimated_temporaries_are_those_of_a_step(
    plan: str, shape: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    """Forward and backward, beside parameters and output and the gradients of all."""
    with FakeTensorMode():
        layer = STDCFConv3d(shape[1], shape[1], 3, padding=1, plan=plan)
        x = torch.empty(shape).to(memory_format=memory_format).requires_grad_()
        with LifeTracker(nn.Identity()) as tracker:
            y = layer(x)
            y.backward(torch.ones_like(y))
        found = auto.situation(*layer._call(x))
        temporary_bytes = auto.estimate(found, plan).temporary_bytes
    given_bytes = 4 * (3 * x.numel() + sum(p.numel() for p in layer.parameters()))
    assert tracker.peak_bytes - given_bytes == pytest.approx(temporary_bytes, rel=0.1)


def test_tune_under_autocast_is_of_autocast() -> None:
    layer = make()
    with torch.autocast("cpu", torch.bfloat16):
        assert "bfloat16" in layer.tune(SHAPE)
        assert "(measured)" in layer.explain(SHAPE)
    assert "(estimated)" in layer.explain(SHAPE)


def test_explain_names_every_plan_once() -> None:
    first, _, *rows = make().explain(SHAPE).splitlines()
    assert "float32" in first
    assert [row.split()[0] for row in rows] == list(PLANS)
    assert make().explain(SHAPE) == make().explain(SHAPE)
    with pytest.raises(RuntimeError, match="expected an input of 16 channels, not 3"):
        make().explain((1, 3, 4, 12, 12))


@pytest.mark.parametrize("content", ["{", '{"format": "stdcf plans 0"}', "[]", "{}"])
def test_a_file_that_is_no_book_is_refused_in_one_line(book: Path, content: str) -> None:
    book.parent.mkdir()
    book.write_text(content)
    with pytest.raises(UserError, match=r"plans.json is not a book of plans .*delete it") as raised:
        make()(torch.ones(SHAPE))
    assert "\n" not in str(raised.value)


def test_a_copied_book_is_not_overwritten(book: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run" / "plans.json"
    plan_book.copy_book(copy)
    assert json.loads(copy.read_text())["measured"] == {}
    layer = make()
    write(book, layer, composed=1.0)
    plan_book.copy_book(copy)
    assert json.loads(copy.read_text())["measured"] == {}
    copy.unlink()
    plan_book.copy_book(copy)
    assert len(json.loads(copy.read_text())["measured"]) == 1
