"""What auto takes on a GPU, whose place is taken by `modelled_device`; no kernel runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from stdcf import STDCFConv3d
from stdcf.layers import auto, plan_book, plans
from stdcf.layers.cuda import library
from stdcf.memory import LifeTracker

pytest.importorskip("triton")
SHAPE = (2, 64, 4, 12, 12)


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "plans.json"
    monkeypatch.setenv("STDCF_PLANS", str(path))
    library.problem.cache_clear()
    with plans.modelled_device("cuda"):
        yield path
    library.problem.cache_clear()


def make(**options: object) -> STDCFConv3d:
    return STDCFConv3d(64, 64, 3, padding=1, **options)


def situation(layer: STDCFConv3d, shape: tuple[int, ...] = SHAPE) -> auto.Situation:
    x = torch.empty(shape, dtype=layer.coefficients.dtype, device="meta")
    return auto.situation(*layer._call(x))


def taken(layer: STDCFConv3d, shape: tuple[int, ...] = SHAPE) -> str:
    return auto.plan_of(*layer._call(torch.empty(shape, device="meta")), None)


def test_composed_until_it_was_measured() -> None:
    layer = make()
    found = auto.choose(situation(layer))
    assert (found.plan, found.source) == ("composed", "estimated")
    assert set(found.estimates) == {"composed", "factored"}
    assert taken(layer) == "composed"


@pytest.mark.parametrize(("composed", "factored"), [(2.0, 1.0), (1.0, 2.0)])
def test_the_faster_one_where_it_was_measured(composed: float, factored: float) -> None:
    layer = make()
    plan_book.add(situation(layer).key, {"composed": composed, "factored": factored})
    assert taken(layer) == ("factored" if factored < composed else "composed")
    # Of another size, or another card, it says nothing.
    assert taken(layer, (3, *SHAPE[1:])) == "composed"
    (entry,) = json.loads(plan_book.book_file().read_text())["measured"]
    assert '"device":"cuda' in entry


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = make()
    plan_book.add(situation(layer).key, {"composed": 2.0, "factored": 1.0})
    monkeypatch.setenv("STDCF_KERNEL", "0")
    library.problem.cache_clear()
    assert library.problem() == "switched off by STDCF_KERNEL=0"
    assert taken(layer) == "composed"
    assert set(auto.choose(situation(layer)).estimates) == {"composed"}


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    assert "Triton is not installed" in library.problem()
    assert set(auto.choose(situation(make())).estimates) == {"composed"}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("shape", [(4, 64, 8, 28, 28), (2, 256, 4, 7, 7)])
def test_the_estimated_temporaries_are_those_of_a_step(
    shape: tuple[int, ...], memory_format: torch.memory_format, stride: int
) -> None:
    """Forward and backward, beside parameters and output and the gradients of all."""
    with FakeTensorMode():
        layer = STDCFConv3d(shape[1], shape[1], 3, stride, padding=1, plan="factored")
        x = torch.empty(shape).to(memory_format=memory_format).requires_grad_()
        with LifeTracker(nn.Identity()) as tracker:
            y = layer(x)
            y.backward(torch.ones_like(y))
        assert "fused_conv3d" in type(y.grad_fn).__name__
        found = auto.situation(*layer._call(x))
        temporary_bytes = auto.estimate(found, "factored").temporary_bytes
    given = x.numel() + 2 * y.numel() + sum(p.numel() for p in layer.parameters())
    assert tracker.peak_bytes - 4 * given == pytest.approx(temporary_bytes, rel=0.1)
