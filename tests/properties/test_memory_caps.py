"""A cap that a prediction says is met is met by the real step, and one that it passes is passed."""

from functools import cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from baselines.layers import Rank1Conv3d
from stdcf.layers import STDCFConv3d
from stdcf.memory import CapExceeded, StepMeter
from stdcf.memory.predict import Predictor
from stdcf.memory.savers import parse_savers
from stdcf.memory.step import StepOptions
from stdcf.models import create_model
from stdcf.stages.stage import itsl

LAYERS = {"regular": nn.Conv3d, "rank1": Rank1Conv3d, "stdcf": STDCFConv3d}
STAGES = (None, *itsl(1, epochs=1, lr=1e-3))
SAVERS = ("bf16", "recompute", "checkpoint", "int8", "offload", "accumulate=2")


class Residual(nn.Module):
    """Normalisation, a shortcut, activations in place and not, and a dense layer of any kind."""

    def __init__(self, conv, width=8):
        super().__init__()
        self.stem = nn.Sequential(conv(1, width, 3, padding=1), nn.BatchNorm3d(width), nn.ReLU())
        self.block = nn.Sequential(
            nn.Sequential(conv(width, width, 3, stride=2, padding=1), nn.GroupNorm(2, width)),
            nn.Sequential(conv(width, width, 3, padding=1), nn.SiLU(inplace=True)),
        )
        self.shortcut = nn.Conv3d(width, width, 1, stride=2)
        self.head = nn.Linear(width, 6)

    def forward(self, clip_BCTHW):
        x = self.stem(clip_BCTHW)
        return self.head((self.block(x) + self.shortcut(x)).mean((2, 3, 4)))


def build(network, layer):
    conv = LAYERS[layer]
    return create_model("kth_cnn", conv=conv) if network == "kth_cnn" else Residual(conv)


@cache
def predictor(network, layer):
    return Predictor(lambda: build(network, layer), "cpu")


@settings(max_examples=settings.default.max_examples // 2, deadline=None)
@given(
    network=st.sampled_from(("kth_cnn", "residual")),
    layer=st.sampled_from(tuple(LAYERS)),
    stage=st.sampled_from(STAGES),
    savers=st.sets(st.sampled_from(SAVERS), max_size=3),
    optimizer=st.sampled_from(("adam", "adamw", "sgd")),
    layout=st.sampled_from((None, "channels_last_3d")),
    clip=st.tuples(
        st.integers(1, 4), st.just(1), st.integers(8, 17), st.integers(24, 33), st.integers(24, 33)
    ),
    share=st.floats(0.3, 1.7).filter(lambda share: abs(share - 1) > 0.01),
)
def test_the_real_step_keeps_and_passes_the_caps_that_are_foretold(
    network, layer, stage, savers, optimizer, layout, clip, share
):
    words = sorted(savers)
    options = {"optimizer": optimizer, "memory_format": layout, "stage": stage}
    foretold = predictor(network, layer).peak(clip, savers=words, **options).peak_bytes
    cap_bytes = round(share * foretold)
    step = StepOptions(**options, savers=parse_savers(words)).build(
        build(network, layer), clip, torch.device("cpu")
    )
    step.warm_up()
    meter = StepMeter(step.model, step.optimizer, cap_bytes, measured_step=0)
    passed = False
    try:
        with meter.step(step.clip_BCTHW, step.target):
            step()
    except CapExceeded:
        passed = True
    assert passed == (share < 1)
