import copy
import sys

import pytest
import torch
from torch import nn

from baselines.layers import Rank1Conv3d
from stdcf.complexity import count
from stdcf.layers import STDCFConv3d, plans
from stdcf.layers.cpu.library import library
from stdcf.models import create_model

# One clip of 16×60×80: output positions of the three convolutions, then the classifier.
POSITIONS = (16 * 60 * 80, 16 * 30 * 40, 8 * 15 * 20)
CHANNELS = ((1, 16), (16, 32), (32, 64))
HEAD = 64 * 6


def network_macs(layer_macs):
    return HEAD + sum(
        n * layer_macs(*channels) for n, channels in zip(POSITIONS, CHANNELS, strict=True)
    )


@pytest.mark.parametrize(
    ("conv", "params", "macs"),
    [
        (nn.Conv3d, 70_278, network_macs(lambda i, o: 27 * i * o)),
        (Rank1Conv3d, 40_150, network_macs(lambda i, o: 9 * i * o + 3 * o * o)),
        (STDCFConv3d, 16_281, network_macs(lambda i, o: 6 * i * o + 3 * i * (9 + 2 * 3))),
    ],
)
def test_kth_cnn(conv, params, macs):
    cost = count(create_model("kth_cnn", conv=conv), (16, 1, 16, 60, 80))
    assert (cost.params, cost.macs) == (params, macs)
    # fvcore counts the evaluation of BatchNorm too, two operations a value.
    norms = sum(2 * n * o for n, (_, o) in zip(POSITIONS, CHANNELS, strict=True))
    assert 0 < cost.fvcore_macs - macs <= 2 * norms
    assert cost.fvcore_unsupported == {}


def test_the_composed_plan_executes_a_dense_convolution():
    layer = STDCFConv3d(8, 4, 3, padding=1, plan="composed")
    composing = 4 * 8 * 6 * 27
    cost = count(layer, (1, 8, 4, 6, 6))
    assert cost.executed_macs == composing + 27 * 8 * 4 * 4 * 6 * 6
    factored = count(STDCFConv3d(8, 4, 3, padding=1, plan="factored"), (1, 8, 4, 6, 6))
    assert cost.macs == factored.macs


def test_the_fused_plan_executes_time_before_space(monkeypatch):
    positions, c_in, c_out, m, n = 4 * 6 * 6, 8, 4, 3, 2
    layer = STDCFConv3d(c_in, c_out, 3, padding=1, plan="factored")
    mixing = positions * m * n * c_in * c_out
    cost = count(layer, (1, c_in, 4, 6, 6))
    assert cost.macs == mixing + positions * c_in * m * (9 + n * 3)
    assert library() is not None
    assert cost.executed_macs == mixing + positions * c_in * n * (3 + m * 9)
    monkeypatch.setattr(plans, "library", lambda: None)
    assert count(layer, (1, c_in, 4, 6, 6)).executed_macs == cost.macs


def test_the_model_is_left_as_it_is():
    model = create_model("kth_cnn", conv=STDCFConv3d).train()
    before = copy.deepcopy(model.state_dict())
    count(model, (1, 1, 4, 16, 16))
    assert model.training
    assert all(module.plan == "auto" for module in model.modules() if hasattr(module, "plan"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_fvcore_leaves_out_is_named():
    cost = count(nn.Conv3d(3, 5, 3, padding="same"), (1, 3, 4, 8, 8))
    assert cost.macs == 27 * 3 * 5 * 4 * 8 * 8
    assert cost.fvcore_macs == 0
    assert cost.fvcore_unsupported == {"aten::_convolution_mode": 1}


def test_without_fvcore_there_is_no_second_count(monkeypatch):
    monkeypatch.setitem(sys.modules, "fvcore.nn", None)
    cost = count(nn.Conv3d(1, 1, 1), (1, 1, 2, 2, 2))
    assert (cost.macs, cost.fvcore_macs) == (8, None)
