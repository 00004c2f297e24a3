"""Recipes against their sources, written out: groups, rates by epoch, crops, starts.

Sources are named in baselines/recipes; the numbers below are theirs, read there by hand.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from baselines.recipes import KINETICS400, SOMETHING_V1, Recipe
from stdcf.errors import UserError
from stdcf.stages.apply import apply_stage, set_training
from stdcf.stages.optimizers import make_optimizer
from suites.engine.catalog import build

# (rate, decay) as factors of a recipe's: of weights, biases, BatchNorm, the classifier, its bias.
Groups = tuple[tuple[float, float], ...]
PYSLOWFAST: Groups = ((1, 1), (1, 1), (1, 0), (1, 1), (1, 1))
WHOLE: Groups = ((1, 1),) * 5
# get_optim_policies of TRN-pytorch, and with fc_lr5 of temporal-shift-module and TIN.
TRN: Groups = ((1, 1), (2, 0), (1, 0), (1, 1), (2, 0))
TSM: Groups = ((1, 1), (2, 0), (1, 0), (5, 1), (10, 0))

ROWS = [
    *((KINETICS400, name, PYSLOWFAST) for name in ("resnet3d_50", "slowfast_r50_8x8")),
    (KINETICS400, "r2plus1d_34", WHOLE),
    *((KINETICS400, name, TSM) for name in ("tsm_r50", "tin_r50")),
    *((SOMETHING_V1, name, PYSLOWFAST) for name in ("resnet3d_50", "i3d_r50", "i3d_gcn_r50")),
    *((SOMETHING_V1, name, TSM) for name in ("tsn_r50", "tsm_r50", "tin_r50")),
    (SOMETHING_V1, "trn_r50", TRN),
]


@pytest.mark.parametrize(("recipes", "name", "groups"), ROWS)
def test_every_parameter_has_its_sources_rate_and_decay(
    recipes: dict[str, Recipe], name: str, groups: Groups
) -> None:
    stage = recipes[name].stage
    with torch.device("meta"):
        model = build(name, num_classes=5)
    found = {}
    for group in make_optimizer(model, stage).param_groups:
        for p in group["params"]:
            found[id(p)] = (group["lr"] / stage.lr, group["weight_decay"] / stage.weight_decay)
    weights, biases, norms, head, head_bias = groups
    for where, module in model.named_modules():
        for own_name, p in module.named_parameters(recurse=False):
            is_bias = own_name == "bias"
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d | nn.LayerNorm):
                expected = norms
            elif where == "fc":
                expected = head_bias if is_bias else head
            else:
                expected = biases if is_bias else weights
            assert found[id(p)] == pytest.approx(expected), f"{where}.{own_name}"


def steps(base: float, *falls: int) -> Callable[[float], float]:
    return lambda epoch: base * 0.1 ** sum(epoch >= fall for fall in falls)


def pyslowfast(base: float, epochs: int, warmup: int) -> Callable[[float], float]:
    """get_lr_at_epoch with COSINE_AFTER_WARMUP off and the start at a tenth of the base."""

    def cosine(epoch: float) -> float:
        return base * (math.cos(math.pi * epoch / epochs) + 1) * 0.5

    def rate(epoch: float) -> float:
        if epoch >= warmup:
            return cosine(epoch)
        return epoch * (cosine(warmup) - base / 10) / warmup + base / 10

    return rate


def vmz(epoch: float) -> float:
    """WarmupMultiStepLR by step, factor 1e-5, in epochs of five clips a video."""
    epoch /= 5
    warm = 1 if epoch >= 10 else 1e-5 * (1 - epoch / 10) + epoch / 10
    return warm * steps(0.02, 20, 30, 40)(epoch)


def tin(epoch: float) -> float:
    """adjust_learning_rate with use_warmup and lr_type step."""
    return epoch * (0.008 - 0.0008) + 0.0008 if epoch < 1 else steps(0.008, 10, 20, 30)(epoch)


SCHEDULES = [
    (KINETICS400, "resnet3d_50", 256, 64, pyslowfast(0.03, 256, 34)),
    (KINETICS400, "slowfast_r50_8x8", 196, 64, pyslowfast(0.1, 196, 34)),
    (KINETICS400, "r2plus1d_34", 225, 64, vmz),
    (KINETICS400, "tsm_r50", 50, 128, steps(0.02, 20, 40)),
    (KINETICS400, "tin_r50", 50, 48, steps(0.01, 20, 40)),
    (SOMETHING_V1, "resnet3d_50", 50, 64, steps(1e-3, 30)),
    (SOMETHING_V1, "tsn_r50", 50, 64, steps(0.01, 20, 40)),
    (SOMETHING_V1, "trn_r50", 120, 64, steps(1e-3, 50, 100)),
    (SOMETHING_V1, "i3d_r50", 40, 64, steps(0.01, 15, 30)),
    (SOMETHING_V1, "i3d_gcn_r50", 40, 64, steps(0.01, 15, 30)),
    (SOMETHING_V1, "tin_r50", 40, 48, tin),
    (SOMETHING_V1, "tsm_r50", 50, 64, steps(0.01, 20, 40)),
]


@pytest.mark.parametrize(("recipes", "name", "epochs", "batch", "rate"), SCHEDULES)
def test_rates_epochs_and_batches_are_the_sources(
    recipes: dict[str, Recipe],
    name: str,
    epochs: int,
    batch: int,
    rate: Callable[[float], float],
) -> None:
    recipe = recipes[name]
    (stage,) = recipe.stages()
    assert (stage.epochs, recipe.batch_size, stage.optimizer) == (epochs, batch, "sgd")
    for epoch in range(epochs):
        for part in (0.0, 0.5) if stage.per_step else (0.0,):
            expected = rate(epoch + part)
            assert stage.lr_at(epoch, part) == pytest.approx(expected, rel=1e-9), (epoch, part)


def test_no_row_is_without_a_source_or_a_schedule() -> None:
    assert {(id(d), n) for d, n, *_ in SCHEDULES} == {
        (id(d), n) for d in (KINETICS400, SOMETHING_V1) for n in d
    }
    assert {(id(d), n) for d, n, _ in ROWS} == {(id(d), n) for d, n, *_ in SCHEDULES}


@pytest.mark.parametrize(
    ("recipes", "name", "dropout", "clip", "nesterov", "frozen", "precise", "crops", "start"),
    [
        (KINETICS400, "resnet3d_50", 0.5, None, True, "none", 200, False, None),
        (KINETICS400, "slowfast_r50_8x8", 0.5, None, True, "none", 200, False, None),
        (KINETICS400, "r2plus1d_34", 0.0, None, False, "none", 0, False, None),
        (KINETICS400, "tsm_r50", 0.5, 20, False, "none", 0, True, "imagenet"),
        (KINETICS400, "tin_r50", 0.5, 20, False, "none", 0, True, "kinetics400-tsm_r50"),
        (SOMETHING_V1, "resnet3d_50", 0.5, None, True, "none", 200, False, "kinetics400"),
        (SOMETHING_V1, "tsn_r50", 0.5, 20, False, "none", 0, True, "imagenet"),
        (SOMETHING_V1, "trn_r50", 0.8, 20, False, "but_first", 0, True, "imagenet"),
        (SOMETHING_V1, "i3d_r50", 0.5, None, True, "none", 200, False, "kinetics400"),
        (SOMETHING_V1, "i3d_gcn_r50", 0.5, None, True, "none", 200, False, "kinetics400"),
        (SOMETHING_V1, "tin_r50", 0.8, 20, False, "but_first", 0, True, "kinetics400"),
        (SOMETHING_V1, "tsm_r50", 0.5, 20, False, "none", 0, True, "imagenet"),
    ],
)
def test_the_rest_is_the_sources(
    recipes: dict[str, Recipe],
    name: str,
    dropout: float,
    clip: float | None,
    nesterov: bool,
    frozen: str,
    precise: int,
    crops: bool,
    start: str | None,
) -> None:
    recipe = recipes[name]
    stage = recipe.stage
    assert (recipe.dropout, stage.clip_norm, stage.nesterov) == (dropout, clip, nesterov)
    assert (stage.frozen_norm, stage.precise_batches) == (frozen, precise)
    assert recipe.starts_from == start
    assert (recipe.data.get("multi_scale") == [1, 0.875, 0.75, 0.66]) == crops
    # TIN on Kinetics samples segments; the others there are dense, as the data set's own default.
    is_tin = recipes is KINETICS400 and name == "tin_r50"
    assert recipe.data.get("sampling") == ("segments" if is_tin else None)
    # TARGET_FPS of PySlowFast; §3.2.1 has consecutive frames.
    assert recipe.data.get("fps") == (30 if name == "slowfast_r50_8x8" else None)


@pytest.mark.parametrize("name", ["trn_r50", "tin_r50"])
def test_partial_batchnorm_leaves_the_stems_alone(name: str) -> None:
    """TSN.train of both sources: all of the backbone's but the first are in eval and fixed."""
    stage = SOMETHING_V1[name].stage
    with torch.device("meta"):
        model = build(name, num_classes=5)
    apply_stage(model, stage)
    set_training(model, stage)
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert len(norms) == 53
    assert [n for n, m in norms.items() if m.training] == ["backbone.net.bn1"]
    learning = [n for n, m in norms.items() if m.weight.requires_grad or m.bias.requires_grad]
    assert learning == ["backbone.net.bn1"]


def test_fewer_epochs_and_smaller_batches_keep_the_shape() -> None:
    (stage,) = KINETICS400["slowfast_r50_8x8"].stages(98, batch_size=16)
    assert (stage.epochs, stage.warmup_epochs) == (98, 17)
    assert stage.lr == pytest.approx(0.1 / 4)
    (one,) = SOMETHING_V1["tin_r50"].stages(1)
    assert (one.epochs, one.warmup_epochs, one.milestones) == (1, 0, ())


def test_a_recipe_says_what_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match="dropout"):
        KINETICS400["tsm_r50"].changed(dropout=1.0)
    with pytest.raises(UserError, match="head_lr is for the module fc or head"):
        make_optimizer(nn.Conv3d(1, 1, 1), KINETICS400["tsm_r50"].stage)
