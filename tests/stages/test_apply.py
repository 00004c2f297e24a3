"""What each stage freezes, for each layer (notes on Algorithm 1)."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines.layers import Rank1Conv3d
from stdcf import STDCFConv3d
from stdcf.layers.parts import layers_with_parts, parts_of
from stdcf.models import create_model
from stdcf.stages.apply import apply_stage, set_training, to_channels_last
from stdcf.stages.stage import Stage, full_size, itsl

STAGE_T, STAGE_S = itsl(1, epochs=1, lr=1e-2)
(FULL,) = full_size(epochs=1, lr=1e-2)

# Suffixes of the frozen parameters in stage-t and stage-s; everything else learns.
FROZEN = {
    "stdcf": (STDCFConv3d, {"spatial_atoms"}, {"temporal_atoms"}),
    "regular": (nn.Conv3d, set(), set()),
    "rank1": (Rank1Conv3d, {"spatial.weight"}, {"temporal.weight"}),
}


@pytest.mark.parametrize("layer", FROZEN)
def test_exactly_the_papers_parameters_learn(layer: str) -> None:
    conv, frozen_t, frozen_s = FROZEN[layer]
    model = create_model("kth_cnn", conv=conv)
    names = [name for name, _ in model.named_parameters()]
    for stage, frozen in (
        (STAGE_T, frozen_t),
        (STAGE_S, frozen_s),
        (STAGE_T, frozen_t),
        (FULL, set()),
    ):
        apply_stage(model, stage)
        expected = {f"blocks.{i}.0.{name}" for i in range(3) for name in frozen}
        assert expected <= set(names)
        assert {n for n, p in model.named_parameters() if not p.requires_grad} == expected


@pytest.mark.parametrize("layer", FROZEN)
def test_a_training_step_moves_all_but_the_frozen(layer: str) -> None:
    conv, frozen_t, frozen_s = FROZEN[layer]
    torch.manual_seed(0)
    model = create_model("kth_cnn", conv=conv, dropout=0.0)
    for stage, frozen in ((STAGE_T, frozen_t), (STAGE_S, frozen_s), (FULL, set())):
        apply_stage(model, stage)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        clip = torch.randn(4, 1, *stage.clip_shape((8, 16, 16)))
        F.cross_entropy(model(clip), torch.arange(4)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        stayed = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
        assert stayed == {f"blocks.{i}.0.{name}" for i in range(3) for name in frozen}


@pytest.mark.parametrize("layer", FROZEN)
def test_dilation_is_the_stages(layer: str) -> None:
    model = create_model("kth_cnn", conv=FROZEN[layer][0])
    for stage in (STAGE_T, STAGE_S, FULL, STAGE_S):
        apply_stage(model, stage)
        temporal, spatial = stage.dilation
        for block in model.blocks:
            conv = block[0]
            if layer == "rank1":
                assert conv.temporal.dilation == (temporal, 1, 1)
                assert conv.spatial.dilation == (1, spatial, spatial)
            else:
                assert conv.dilation == conv.padding == (temporal, spatial, spatial)


@pytest.mark.parametrize("layer", FROZEN)
def test_what_was_frozen_before_learns_again(layer: str) -> None:
    model = create_model("kth_cnn", conv=FROZEN[layer][0]).requires_grad_(False)
    apply_stage(model, FULL)
    assert all(p.requires_grad for p in model.parameters())


def test_a_stage_that_trains_no_part_still_trains_the_rest() -> None:
    model = create_model("kth_cnn", conv=STDCFConv3d)
    apply_stage(model, Stage(name="head", epochs=1, lr=1.0, trains=()))
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    rest = {f"blocks.{i}.1.{name}" for i in range(3) for name in ("weight", "bias")}
    assert learning == rest | {f"blocks.{i}.0.bias" for i in range(3)} | {
        "head.weight",
        "head.bias",
    }


def test_a_refused_dilation_freezes_nothing() -> None:
    model = nn.Sequential(STDCFConv3d(1, 2, 3, padding=1), STDCFConv3d(2, 2, (2, 3, 3)))
    with pytest.raises(ValueError, match="1: no whole padding"):
        apply_stage(model, STAGE_T)
    assert all(p.requires_grad for p in model.parameters())
    assert model[0].dilation == (1, 1, 1)


def test_parts_of_what_is_and_is_not_a_layer() -> None:
    conv = nn.Conv3d(1, 1, 1)
    assert parts_of(conv) == {"spatial": [], "temporal": [], "joint": [conv.weight]}
    assert parts_of(nn.Conv2d(1, 1, 3)) is None
    assert parts_of(nn.BatchNorm3d(1)) is None


def test_a_layer_with_parts_is_not_entered() -> None:
    model = nn.ModuleDict(
        {"a": Rank1Conv3d(1, 1, 3), "ab": nn.Sequential(nn.Conv3d(1, 1, 3)), "b": nn.Linear(1, 1)}
    )
    assert [name for name, _ in layers_with_parts(model)] == ["a", "ab.0"]
    assert [name for name, _ in layers_with_parts(Rank1Conv3d(1, 1, 3))] == [""]


def test_to_channels_last_converts_5d_parameters_alone() -> None:
    model = nn.ModuleList([nn.Conv3d(4, 6, 3), nn.Conv2d(4, 6, 3), STDCFConv3d(4, 6, 3)])
    before = copy.deepcopy(model)
    optimised = list(model.parameters())
    assert to_channels_last(model) is model
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert model[1].weight.is_contiguous()
    for parameter, old, given in zip(
        model.parameters(), before.parameters(), optimised, strict=True
    ):
        assert torch.equal(parameter, old)
        assert parameter is given


@pytest.mark.parametrize(("frozen", "learning"), [("all", 0), ("but_first", 1), ("none", 3)])
def test_frozen_batchnorms_neither_learn_nor_gather(frozen: str, learning: int) -> None:
    torch.manual_seed(0)
    model = create_model("kth_cnn")
    stage = FULL.changed(frozen_norm=frozen)
    apply_stage(model, stage)
    set_training(model, stage)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    before = [norm.running_mean.clone() for norm in norms]
    model(torch.rand(2, 1, 4, 8, 8)).sum().backward()
    for i, (norm, mean) in enumerate(zip(norms, before, strict=True)):
        assert norm.training == norm.weight.requires_grad == norm.bias.requires_grad
        assert norm.training == (i < learning)
        assert torch.equal(norm.running_mean, mean) == (i >= learning)
        assert (norm.weight.grad is None) == (i >= learning)
    assert all(m.training for m in model.modules() if not isinstance(m, nn.BatchNorm3d))


def test_the_next_stage_thaws_them() -> None:
    model = create_model("kth_cnn")
    for frozen in ("all", "none"):
        stage = FULL.changed(frozen_norm=frozen)
        apply_stage(model, stage)
        set_training(model, stage)
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())
