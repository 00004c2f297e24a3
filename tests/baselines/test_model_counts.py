"""Parameters and computation of every peer, against the published figures and closed formulas."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.video.resnet import BasicBlock, BasicStem, Conv3DSimple, VideoResNet

from stdcf.complexity import _copy, _macs
from suites.engine.catalog import MODELS, build

RESNET50_FEATURES = 25_557_032 - 2049 * 1000
HEAD = 2049 * 400


def on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return build(name, num_classes=400, **options)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def gmacs(model: nn.Module, *shape: int) -> float:
    return _macs(_copy(model, "meta"), (1, 3, *shape)) / 1e9


@pytest.mark.parametrize(
    ("name", "millions", "published_gmacs", "shape"),
    [
        ("r2plus1d_34", 63.7, 53.2, (8, 256, 256)),
        ("slowfast_r50_8x8", 34.6, 65.7, (32, 256, 256)),
        ("tsm_r50", 24.3, 33.0, (8, 224, 224)),
        ("tsn_r50", 24.3, 33.0, (8, 224, 224)),
        # As counted in TSM's paper (its Table 2).
        ("i3d_r50", 28.0, 153, (32, 224, 224)),
        # 34.0 in TIN's own paper: 3.5% more than ours, see test_what_interlacing_costs.
        ("tin_r50", 24.3, None, (8, 224, 224)),
        ("trn_r50", None, 33.0, (8, 224, 224)),
    ],
)
def test_published_figures(
    name: str, millions: float | None, published_gmacs: float | None, shape: tuple[int, ...]
) -> None:
    model = on_meta(name)
    if millions is not None:
        assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.005)
    if published_gmacs is not None:
        assert gmacs(model, *shape) == pytest.approx(published_gmacs, rel=0.01)


def test_a_shift_costs_nothing() -> None:
    tsn, tsm = on_meta("tsn_r50"), on_meta("tsm_r50")
    assert parameters(tsn) == parameters(tsm) == RESNET50_FEATURES + HEAD
    assert gmacs(tsn, 8, 224, 224) == gmacs(tsm, 8, 224, 224)


def test_what_interlacing_costs() -> None:
    # Of each block: input channels and pixels at 224².
    inputs = [(64, 56), (256, 56), (256, 56), (256, 56), *[(512, 28)] * 4, *[(1024, 14)] * 6]
    inputs += [(2048, 7)] * 2
    offset_net = [3 * c // 4 + 1 + (8 * 8 + 8) + (2 * 8 + 2) for c, _ in inputs]
    weight_net = [2 * 3 * c // 4 + 2 for c, _ in inputs]
    tin, tsn = on_meta("tin_r50"), on_meta("tsn_r50")
    assert parameters(tin) - parameters(tsn) == sum(offset_net) + sum(weight_net)
    # Mixing 8 frames with 8 weights, for a quarter of the channels.
    mixing = sum(8 * 8 * c // 4 * size**2 for c, size in inputs)
    nets = sum(3 * 8 * 3 * c // 4 + 8 * 8 + 8 * 2 for c, _ in inputs)
    assert gmacs(tin, 8, 224, 224) - gmacs(tsn, 8, 224, 224) == pytest.approx(
        (mixing + nets) / 1e9, rel=1e-3
    )


def test_tin_counts_as_in_another_public_implementation() -> None:
    # MMAction2 1.0's model list: FLOPs and Parameters of its TIN at 8×224².
    tin = on_meta("tin_r50")
    assert parameters(tin) == 24_358_640
    assert gmacs(tin, 8, 224, 224) == pytest.approx(32.965_800_320, rel=0.01)


def test_trn_counted_once_a_use_is_the_published_size() -> None:
    model = on_meta("trn_r50")
    hidden = sum(256 * 256 * s + 256 for s in range(2, 9))
    scores = 7 * (256 * 400 + 400)
    assert parameters(model) == RESNET50_FEATURES + 2048 * 256 + 256 + hidden + scores
    # TSM's paper gives TRN on ResNet-50 31.8 M: that counts a scale's perceptron for each of its
    # choices of frames (three, and the one choice of all eight).
    each = [sum(p.numel() for p in relation.parameters()) for relation in model.relations]
    uses = [relation.samples for relation in model.relations]
    assert uses == [3] * 6 + [1]
    more = sum(n * (times - 1) for n, times in zip(each, uses, strict=True))
    assert (parameters(model) + more) / 1e6 == pytest.approx(31.8, rel=0.005)


def test_i3d_variants() -> None:
    plain = on_meta("i3d_r50")
    # Besides the stem's 5 frames, 3 for the first 1×1 of 3, 2, 3 and 1 bottlenecks.
    entries = (
        (64 + 256 + 256) * 64,
        (256 + 512) * 128,
        (512 + 1024 + 1024) * 256,
        2048 * 512,
    )
    over_time = 4 * 3 * 64 * 49 + 2 * sum(entries)
    assert parameters(plain) == RESNET50_FEATURES + HEAD + over_time
    # The published size of NL I3D is 35.3 M (TSM's Table 2).
    assert parameters(on_meta("i3d_r50", non_local=5)) / 1e6 == pytest.approx(35.3, rel=0.005)
    whole = on_meta("i3d_r50", inflate="3x3x3")
    middles = 3 * 64**2 + 2 * 128**2 + 3 * 256**2 + 512**2
    assert parameters(whole) == RESNET50_FEATURES + HEAD + 4 * 3 * 64 * 49 + 18 * middles


def test_gcn_adds_a_reduction_two_graphs_and_a_wider_classifier() -> None:
    width, layers = 512, 3
    reduction = 2048 * width + width
    similarity = 2 * width**2 + layers * (width**2 + 2 * width)
    space_time = layers * (2 * width**2 + 2 * width)
    heads = (2 * width + 1) * 400 - HEAD
    added = reduction + similarity + space_time + heads
    assert parameters(on_meta("i3d_gcn_r50")) == parameters(on_meta("i3d_r50")) + added


def test_r2plus1d_has_as_many_parameters_as_the_3d_network_it_factors() -> None:
    factored, whole = on_meta("r2plus1d_34"), on_meta("r2plus1d_34", layer="regular")
    with torch.device("meta"):
        theirs = VideoResNet(BasicBlock, [Conv3DSimple] * 4, [3, 4, 6, 3], BasicStem, 400)
    assert parameters(whole) == parameters(theirs)
    # But for the BatchNorms in between and what a whole number of channels leaves over.
    assert parameters(factored) == pytest.approx(parameters(whole), rel=0.005)


def test_r2plus1d_without_the_pool_after_its_stem() -> None:
    model = on_meta("r2plus1d_34")
    assert isinstance(model.stem[-1], nn.MaxPool3d)
    model.stem = model.stem[:-1]
    assert gmacs(model, 8, 256, 256) == pytest.approx(200.7, abs=0.05)


@pytest.mark.parametrize("layer", [None, "regular", "stdcf"])
def test_r2plus1ds_batchnorms_add_a_thousandth(layer: str | None) -> None:
    norms = [m for m in on_meta("r2plus1d_34", layer=layer).modules() if hasattr(m, "running_var")]
    assert {norm.eps for norm in norms} == {1e-3}
    # With two factors a convolution there is one more norm in each of 33.
    assert len(norms) == 1 + 2 * 16 + 3 + (33 if layer is None else 0)


def test_every_model_is_in_the_catalog() -> None:
    assert sorted(MODELS) == sorted(
        [
            *("kth_cnn", "resnet3d_50", "autoencoder3d", "r2plus1d_34", "slowfast_r50_8x8"),
            *("tsn_r50", "trn_r50", "tsm_r50", "tin_r50", "i3d_r50", "i3d_gcn_r50"),
        ]
    )


def test_importing_the_catalog_imports_no_model_library() -> None:
    code = "import sys, suites.engine.catalog; print({'timm', 'torchvision'} & sys.modules.keys())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
