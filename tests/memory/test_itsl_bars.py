"""How much of full size's peak ITSL's step takes at β=γ=2."""

from functools import cache, partial

import pytest
from torch import nn

from baselines.layers import Rank1Conv3d
from stdcf.layers import STDCFConv3d
from stdcf.memory.predict import Predictor
from stdcf.models import create_model
from stdcf.stages.stage import itsl

LAYERS = {
    "regular": nn.Conv3d,
    "rank1": Rank1Conv3d,
    "stdcf": partial(STDCFConv3d, num_spatial_atoms=3, num_temporal_atoms=2),
    # §3.2.
    "stdcf 6,2": partial(STDCFConv3d, num_spatial_atoms=6, num_temporal_atoms=2),
}
MODELS = {"kth_cnn": (6, (16, 1, 16, 60, 80)), "resnet3d_50": (400, (8, 3, 8, 224, 224))}
STAGES = itsl(1, epochs=1, lr=1e-3, beta=2, gamma=2)


@cache
def peak_bytes(name, layer, optimizer, stage=None, savers=()):
    classes, clip = MODELS[name]
    predictor = Predictor(
        lambda: create_model(name, conv=LAYERS[layer], num_classes=classes, in_channels=clip[1])
    )
    return predictor.peak(clip, optimizer=optimizer, stage=stage, savers=savers).peak_bytes


def share(name, layer, optimizer, savers=()):
    """ITSL's larger stage, with savers, of plain full size."""
    stages = [peak_bytes(name, layer, optimizer, stage, savers) for stage in STAGES]
    return max(stages) / peak_bytes(name, layer, optimizer)


@pytest.mark.parametrize("layer", ["regular", "rank1", "stdcf"])
def test_kth_cnn_takes_half(layer):
    assert 0.49 < share("kth_cnn", layer, "adam") <= 0.51


@pytest.mark.parametrize("layer", ["regular", "rank1", "stdcf 6,2"])
def test_resnet3d_50_takes_little_more_than_half(layer):
    """Parameters, gradients and the optimiser's state are not halved."""
    assert 0.50 < share("resnet3d_50", layer, "sgd") <= 0.56


@pytest.mark.parametrize(("layer", "bar"), [("regular", 0.22), ("stdcf 6,2", 0.18)])
def test_with_autocast_and_checkpointing_a_fifth_is_left(layer, bar):
    assert 0.10 < share("resnet3d_50", layer, "sgd", ("bf16", "checkpoint")) <= bar
