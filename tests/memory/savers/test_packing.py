import gc
import warnings
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory import LifeTracker
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.packing import Packing


class Box:
    def __init__(self, tensor):
        self.copy = tensor.clone()

    def unpack(self):
        return self.copy


def packing(*keep):
    made = Packing(keep)
    made.packers.append(Box)
    return made


def test_a_tensor_that_two_layers_save_is_packed_once():
    boxes = packing()
    x = torch.rand(100, requires_grad=True)
    with boxes.hooks():
        y = x.exp()  # keeps its result
        z = y.sin() + y.cos()  # both keep their input
    z.sum().backward()
    assert sum(packed() is not None for _, packed in boxes._known.values()) <= 1
    e = x.detach().exp()
    torch.testing.assert_close(x.grad, e * (e.cos() - e.sin()))


def test_what_is_alive_anyway_stays():
    layer, x = nn.Linear(5, 5), torch.rand(3, 5, requires_grad=True)
    boxes = packing(*layer.parameters(), x)
    assert boxes.pack(layer.weight).unpack().data_ptr() == layer.weight.data_ptr()
    assert boxes.pack(layer.weight.t()).unpack().data_ptr() == layer.weight.data_ptr()
    assert isinstance(boxes.pack(x + 1), Box)


@pytest.mark.parametrize("packs", [False, True], ids=["nothing", "all but what is kept"])
def test_what_is_kept_by_reference_must_not_change(packs):
    """As autograd says itself, without hooks."""
    weight = torch.ones(3, requires_grad=True)
    x = torch.ones(3, requires_grad=True)
    for hooks in (nullcontext, packing(weight, x).hooks if packs else _takes_nothing().hooks):
        with hooks():
            y = (x * weight).sum()
        with torch.no_grad():
            weight.add_(1)
        with pytest.raises(
            RuntimeError, match=r"modified by an inplace|changed in place .*x = x"
        ) as e:
            y.backward()
        assert hooks is nullcontext or "\n" not in str(e.value)


def _takes_nothing():
    none = Packing(())
    none.packers.append(lambda tensor: None)
    return none


def test_another_value_or_view_is_another_tensor():
    boxes = packing()
    x = torch.rand(10)
    first = boxes.pack(x)
    assert boxes.pack(x) is first
    assert boxes.pack(x[:5]) is not first
    x.add_(1)
    assert boxes.pack(x) is not first


def test_an_address_that_is_used_again_is_another_tensor():
    boxes = packing()
    kept = []
    for value in range(20):
        x = torch.full((1000,), float(value))
        kept.append(boxes.pack(x))
        del x
    assert [float(box.unpack()[0]) for box in kept] == list(range(20))


def test_nothing_is_held_after_backward():
    boxes = packing()
    x = torch.rand(1000, requires_grad=True)
    with boxes.hooks():
        y = x.exp()
    assert any(packed() is not None for _, packed in boxes._known.values())
    y.sum().backward()
    del y
    gc.collect()
    assert all(packed() is None for _, packed in boxes._known.values())


def test_kept_tensors_make_no_cycles():
    """A saved result that points back at its own node would never be freed."""
    none = _takes_nothing()
    x = torch.rand(1000, requires_grad=True)
    gc.disable()
    try:
        with LifeTracker(nn.Identity()) as tracker:
            for _ in range(3):
                with none.hooks():
                    y = x.exp().relu_()
                del y
        assert tracker.current_bytes == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("savers", ["recompute", "int8", "offload", "recompute,offload"])
@pytest.mark.parametrize("kind", ["sparse", "csr", "nested", "vmap"])
def test_tensors_that_are_not_plain_stay_as_they_are(kind, savers):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x):
            y = F.silu(F.layer_norm(self.linear(x), (8,)))
            if kind == "nested":
                rows = torch.nested.as_nested_tensor([y[:3], y[3:]])
                return torch.nested.to_padded_tensor(rows * rows, 0.0).sum((0, 1))
            if kind == "vmap":
                return torch.vmap(lambda t: F.silu(F.layer_norm(t, (8,))))(y)
            eye = torch.eye(len(y))
            return (eye.to_sparse() if kind == "sparse" else eye.to_sparse_csr()) @ y

    x, found = torch.randn(8, 8), []
    for words in ("", savers):
        torch.manual_seed(0)
        net = Net()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            learn(net, x, None, lambda y, _: y.square().mean(), parse_savers(words))
        found.append(net.linear.weight.grad)
    assert torch.equal(*found)


def test_derivatives_by_torch_func_are_refused_in_one_line():
    class Net(nn.Linear):
        def forward(self, x):
            return torch.func.grad(lambda t: super(Net, self).forward(t).sin().sum())(x)

    with pytest.raises(UserError, match=r"torch\.func .*leave recompute") as caught:
        learn(Net(4, 4), torch.ones(2, 4), None, lambda y, _: y.sum(), parse_savers("offload"))
    assert "\n" not in str(caught.value)


def test_a_known_tensor_is_kept_once_whatever_packs_it_later():
    """As one operator keeps it itself, nothing is saved by a second form of it."""
    x = torch.rand(100, requires_grad=True).exp()
    boxes = Packing(())
    first = boxes.pack(x)
    boxes.packers.append(Box)
    assert boxes.pack(x) is first
