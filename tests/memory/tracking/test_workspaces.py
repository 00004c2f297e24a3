"""Predictions with operators' own allocations against the CPU allocator's events."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig

from baselines.layers import Rank1Conv3d
from stdcf.layers import STDCFConv3d
from stdcf.memory import measure_peak, predict_peak
from stdcf.memory.tracking.allocator_events import allocator_peak
from stdcf.models import create_model
from stdcf.stages.stage import itsl

LAYERS = {
    "regular": nn.Conv3d,
    "rank1": Rank1Conv3d,
    "stdcf": STDCFConv3d,
    "composed": partial(STDCFConv3d, plan="composed"),
}
STAGES = {"full": None} | dict(zip(("t", "s"), itsl(1, epochs=1, lr=1e-3), strict=True))
SAVERS = ("", "bf16", "checkpoint", "recompute", "int8", "offload", "accumulate=2")
CLIP = (4, 1, 16, 30, 40)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As runs have: with two, oneDNN has fewer buffers of its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def check(model_fn, clip, **options):
    """Within 3%, and the tracker on real tensors within 1% of its own prediction."""
    options = {"device": "cpu", "memory_format": "channels_last_3d"} | options
    tensors = predict_peak(model_fn, clip, **options)
    measured = measure_peak(model_fn, clip, **options)
    assert tensors.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    predicted = predict_peak(model_fn, clip, workspaces=True, **options)
    allocated = measure_peak(model_fn, clip, count="allocator", **options)
    assert allocated.measured_by == "cpu_allocator"
    assert predicted.peak_bytes == pytest.approx(allocated.peak_bytes, rel=0.03)
    assert sum(predicted.breakdown.values()) == predicted.peak_bytes


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_and_stage(layer, stage):
    model_fn = partial(create_model, "kth_cnn", conv=LAYERS[layer])
    check(model_fn, CLIP, stage=STAGES[stage])


@pytest.mark.parametrize("savers", SAVERS)
@pytest.mark.parametrize("layer", ["regular", "stdcf"])
def test_every_saver(layer, savers):
    model_fn = partial(create_model, "kth_cnn", conv=LAYERS[layer])
    check(model_fn, CLIP, savers=savers)


VIDEO = torchvision.models.video


def small_mvit() -> nn.Module:
    """mvit_v2_s has sixteen such blocks on clips of 224²."""
    blocks = [
        MSBlockConfig(1, 32, 32, (3, 3, 3), (3, 3, 3), (1, 1, 1), (1, 2, 2)),
        MSBlockConfig(2, 32, 64, (3, 3, 3), (3, 3, 3), (1, 2, 2), (1, 1, 1)),
    ]
    return VIDEO.MViT(
        (32, 32),
        8,
        blocks,
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
        num_classes=9,
    )


# Small clips, for they are run.
MODELS = {
    "r3d_18": (VIDEO.r3d_18, (2, 3, 8, 56, 56)),
    "mc3_18": (VIDEO.mc3_18, (2, 3, 8, 56, 56)),
    "r2plus1d_18": (VIDEO.r2plus1d_18, (2, 3, 8, 56, 56)),
    "s3d": (VIDEO.s3d, (1, 3, 16, 224, 224)),
    "swin3d_t": (VIDEO.swin3d_t, (1, 3, 8, 64, 64)),
    "mvit": (small_mvit, (1, 3, 8, 32, 32)),
    "resnet3d_50": (
        partial(create_model, "resnet3d_50", conv=STDCFConv3d, num_classes=9, in_channels=3),
        (2, 3, 8, 64, 64),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_video_models(name):
    model_fn, clip = MODELS[name]
    check(model_fn, clip, optimizer="sgd", memory_format=None)


@torch.library.custom_op("stdcf_tests::cumbersome", mutates_args=())
def cumbersome(x: Tensor) -> Tensor:
    scratch = torch.ones(3, *x.shape)
    return x + scratch[0]


@cumbersome.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


cumbersome.register_autograd(lambda ctx, grad: grad)


class Cumbersome(nn.Module):
    """An operator that has three times its input for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        x = cumbersome(clip_BCTHW * self.head.bias[0])
        return self.head(x.mean((1, 2, 3, 4)).unsqueeze(1))


def test_the_operator_that_explains_the_rest_is_named():
    clip_bytes = 4 * 8 * 50 * 50 * 4
    options = {"input_shape": (4, 1, 8, 50, 50), "device": "cpu"}
    tensors = predict_peak(Cumbersome, **options)
    everything = predict_peak(Cumbersome, workspaces=True, **options)
    allocated = measure_peak(Cumbersome, count="allocator", **options)
    # Clip, the operator's input and output; and within it three times as much.
    assert tensors.peak_bytes == pytest.approx(3 * clip_bytes, rel=0.01)
    assert everything.peak_bytes == pytest.approx(6 * clip_bytes, rel=0.01)
    assert allocated.peak_bytes == pytest.approx(6 * clip_bytes, rel=0.01)
    assert everything.moment.operator == "stdcf_tests.cumbersome"
    assert everything.breakdown["workspaces"] == pytest.approx(4 * clip_bytes, rel=0.01)
    assert tensors.gap == "what operators allocate within themselves"
    assert everything.gap == ""


def test_the_allocators_events_are_what_was_asked_for():
    """A pin: torch's private list of events holds every allocation of the CPU's allocator."""

    def work():
        a = torch.ones(1000)
        b = a + 1
        del a
        c = torch.zeros(300)
        del b, c

    # The number 1 is a tensor of its own while it is added.
    assert 2 * 4000 <= allocator_peak(work) <= 2 * 4000 + 16
