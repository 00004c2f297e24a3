"""`tune` with the kernel among the candidates: measured, or left out where it is wrong or fails."""

import json
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch

from stdcf import STDCFConv3d
from stdcf.layers import plan_book
from stdcf.layers.cuda import launch

SHAPE = (1, 2, 1, 2, 3)


def make() -> STDCFConv3d:
    torch.manual_seed(0)
    return STDCFConv3d(2, 2, (1, 1, 2), num_spatial_atoms=1, num_temporal_atoms=1)


def measured() -> dict[str, float]:
    (entry,) = json.loads(plan_book.book_file().read_text())["measured"].values()
    return dict(entry["seconds"])


@pytest.fixture(autouse=True)
def _own_book(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STDCF_PLANS", f"{tmp_path}/plans.json")


def test_the_kernel_is_measured_beside_the_composed_plan() -> None:
    layer = make()
    text = layer.tune(SHAPE)
    found = measured()
    assert set(found) == {"composed", "factored"}
    fastest = min(found, key=found.__getitem__)
    assert text.startswith(f"{fastest} (measured)")
    # Faster here or not, where it is said to be faster it is taken.
    (key,) = json.loads(plan_book.book_file().read_text())["measured"]
    plan_book.add(key, {"composed": 2.0, "factored": 1.0})
    y = layer(torch.randn(SHAPE))
    assert "fused_conv3d" in type(y.grad_fn).__name__


def twice_as_much(pack: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda *arguments: pack(*arguments).mul_(2)


def fails(*_: object) -> None:
    raise ValueError("out of resource: shared memory")


@pytest.mark.parametrize(
    ("name", "wrong", "warning"),
    [
        ("pack", twice_as_much(launch.pack), r"'factored' is off by 1.0e\+00 here"),
        ("convolve", fails, "'factored' fails here .*: out of resource"),
    ],
)
def test_a_kernel_that_is_wrong_or_fails_is_left_out(
    name: str, wrong: object, warning: str
) -> None:
    layer = make()
    with patch.object(launch, name, wrong), pytest.warns(UserWarning, match=warning):
        assert layer.tune(SHAPE).startswith("composed (measured)")
    assert set(measured()) == {"composed"}


def test_where_memory_is_short_it_is_said() -> None:
    def short(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with patch.object(launch, "convolve", short), pytest.raises(torch.OutOfMemoryError):
        make().tune(SHAPE)
    assert not plan_book.book_file().exists()
