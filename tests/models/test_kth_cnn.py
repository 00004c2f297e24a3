"""The paper's KTH network with each layer."""

import copy
import math
import pickle
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from baselines.layers import Rank1Conv3d
from stdcf import STDCFConv3d
from stdcf.errors import UserError
from stdcf.models import create_model, list_models
from stdcf.models.activations import InputSavingReLU
from stdcf.stages.apply import to_channels_last

LAYERS = {"regular": nn.Conv3d, "rank1": Rank1Conv3d, "stdcf": STDCFConv3d}
by_layer = pytest.mark.parametrize("layer", LAYERS)


@pytest.mark.parametrize(
    ("layer", "parameters"), [("regular", 70_278), ("rank1", 40_150), ("stdcf", 16_281)]
)
def test_parameters_are_the_papers(layer: str, parameters: int) -> None:
    model = create_model("kth_cnn", conv=LAYERS[layer], num_classes=6, in_channels=1)
    assert sum(p.numel() for p in model.parameters()) == parameters


@by_layer
@pytest.mark.parametrize("size", [(16, 60, 80), (8, 60, 80), (16, 30, 40), (4, 8, 8), (5, 17, 9)])
def test_takes_any_size(layer: str, size: tuple[int, int, int]) -> None:
    model = create_model("kth_cnn", conv=LAYERS[layer], num_classes=4, in_channels=3).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, *size)).shape == (1, 4)


@by_layer
def test_relu_that_saves_its_input_changes_neither_output_nor_gradients(layer: str) -> None:
    outputs, gradients = [], []
    for relu_saves in ("output", "input"):
        torch.manual_seed(0)
        model = create_model("kth_cnn", conv=LAYERS[layer], relu_saves=relu_saves).double()
        x = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64, requires_grad=True)
        y = model(x)
        outputs.append(y)
        gradients.append(torch.autograd.grad(y.square().sum(), [x, *model.parameters()]))
    assert torch.equal(*outputs)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_relus_at_zero_and_at_what_is_no_number() -> None:
    values = torch.tensor([-1.0, -0.0, 0.0, 2.0, math.inf, -math.inf, math.nan])
    results = []
    for relu in (nn.ReLU(), InputSavingReLU()):
        x = values.clone().requires_grad_(True)
        y = relu(x)
        (grad,) = torch.autograd.grad(y, x, torch.full_like(y, 3.0))
        results.append((y, grad))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours.nan_to_num(7.0), theirs.nan_to_num(7.0))


def test_relus_save_what_they_say() -> None:
    x = torch.randn(5, requires_grad=True)
    for relu, input_is_kept in ((InputSavingReLU(), True), (nn.ReLU(), False)):
        saved = _saved(lambda relu=relu: relu(x))
        assert [t.data_ptr() == x.data_ptr() for t in saved] == [input_is_kept]


def _saved(forward: partial) -> list[Tensor]:
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relu_saves": "both"}, "relu_saves must be one of output, input, not 'both'"),
        ({"dropout": 1.5}, "dropout .* not 1.5"),
        ({"depth": 4}, "kth_cnn takes no option depth; its options are dropout, relu_saves"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        create_model("kth_cnn", **options)
    assert "\n" not in str(raised.value)


def test_unknown_model() -> None:
    with pytest.raises(UserError, match=r"unknown model 'kth_cm'.*kth_cnn"):
        create_model("kth_cm")
    assert "kth_cnn" in list_models()


@by_layer
def test_travels(layer: str) -> None:
    torch.manual_seed(0)
    model = create_model("kth_cnn", conv=LAYERS[layer])
    x = torch.randn(2, 1, 8, 16, 16)
    model(x)
    expected = model.eval()(x)
    fresh = create_model("kth_cnn", conv=LAYERS[layer])
    fresh.load_state_dict(model.state_dict())
    for other in (fresh.eval(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), expected)
    converted = to_channels_last(copy.deepcopy(model))
    whole = copy.deepcopy(model).to(memory_format=torch.channels_last_3d)
    x_last = x.contiguous(memory_format=torch.channels_last_3d)
    assert torch.allclose(converted(x_last), expected, atol=1e-5)
    assert torch.allclose(whole(x_last), expected, atol=1e-5)


@by_layer
def test_meta_device(layer: str) -> None:
    with torch.device("meta"):
        model = create_model("kth_cnn", conv=LAYERS[layer])
        assert model(torch.empty(2, 1, 16, 60, 80)).shape == (2, 6)
    assert all(p.is_meta for p in model.parameters())


@pytest.mark.parametrize(
    "conv", [nn.Conv3d, Rank1Conv3d, STDCFConv3d, partial(STDCFConv3d, plan="factored")]
)
def test_bfloat16_autocast_trains(conv: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = create_model("kth_cnn", conv=conv)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(torch.randn(2, 1, 8, 16, 16)).float().square().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
