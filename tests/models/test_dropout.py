"""Dropout with a mask of one byte, on both of its ways (p in steps of 1/256 or not)."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from stdcf.models.dropout import ByteMaskDropout

probabilities = pytest.mark.parametrize("p", [0.5, 0.25, 255 / 256, 1 / 256, 0.3])


@probabilities
def test_drops_a_fraction_and_scales_the_rest(p: float) -> None:
    torch.manual_seed(0)
    n = 400_003
    x = torch.ones(n, requires_grad=True)
    y = ByteMaskDropout(p)(x)
    kept = (y != 0).double()
    assert torch.allclose(y[y != 0], torch.tensor(1 / (1 - p)))
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(grad, y)
    # Five standard deviations of a binomial fraction, as a whole and at each place in a word.
    deviation = math.sqrt(p * (1 - p) / n)
    assert float(kept.mean()) == pytest.approx(1 - p, abs=5 * deviation)
    for place in range(8):
        fraction = float(kept[place::8].mean())
        assert fraction == pytest.approx(1 - p, abs=5 * deviation * math.sqrt(8))
    # Neighbours are independent: the share of kept pairs is (1 − p)².
    for distance in (1, 4, 8):
        pairs = float((kept[distance:] * kept[:-distance]).mean())
        assert pairs == pytest.approx((1 - p) ** 2, abs=10 * deviation)


@probabilities
def test_keeps_one_byte_an_element_for_backward(p: float) -> None:
    x = torch.randn(4, 5, 6, requires_grad=True)
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        ByteMaskDropout(p)(x)
    assert [(t.dtype, t.shape) for t in kept] == [(torch.bool, x.shape)]
    assert kept[0].untyped_storage().nbytes() <= x.numel() + 7


@probabilities
def test_any_layout_keeps_it_and_drops_in_place(p: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4, 5, 6) + 1
    layouts = [
        x,
        x.contiguous(memory_format=torch.channels_last_3d),
        x.transpose(1, 3),
        x[:, :, ::2],
        x[:1].expand(4, 3, 4, 5, 6),
        x[:0],
    ]
    for given in layouts:
        given = given.detach().requires_grad_(True)
        y = ByteMaskDropout(p)(given)
        (grad,) = torch.autograd.grad(y, given, torch.ones_like(y))
        assert y.shape == given.shape
        assert torch.allclose(y, given * grad)
    last = ByteMaskDropout(p)(layouts[1])
    assert last.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@probabilities
def test_keeps_the_type(p: float, dtype: torch.dtype) -> None:
    x = torch.ones(100, dtype=dtype, requires_grad=True)
    y = ByteMaskDropout(p)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype


@probabilities
def test_seed_decides_the_mask_and_each_call_draws_anew(p: float) -> None:
    dropout, x = ByteMaskDropout(p), torch.ones(10_000)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


@probabilities
def test_on_the_meta_device(p: float) -> None:
    assert ByteMaskDropout(p)(torch.empty(3, 4, device="meta")).shape == (3, 4)


def test_ends_of_the_range() -> None:
    x = torch.randn(100, requires_grad=True)
    assert torch.equal(ByteMaskDropout(0.0)(x), x)
    y = ByteMaskDropout(1.0)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y, torch.zeros(100))
    assert torch.equal(grad, torch.zeros(100))


@probabilities
def test_evaluation_is_the_identity(p: float) -> None:
    x = torch.randn(5)
    assert ByteMaskDropout(p).eval()(x) is x
