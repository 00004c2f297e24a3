"""Autocast as CUDA does it, on tensors that are on no GPU."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.layers import STDCFConv3d
from stdcf.memory import measure_peak, predict_peak
from stdcf.memory.cuda import cuda_autocast
from stdcf.memory.cuda.cuda_operators import cuda_operators

SHAPE = (4, 3, 8, 28, 28)
X, M = torch.rand(2, 3, 8, 8), torch.rand(8, 8)
LOW = X.bfloat16()

# From torch's documentation of autocast, "CUDA Op-Specific Behavior".
DOCUMENTED_LOW = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "gru_cell",
    "linear",
    "lstm_cell",
    "matmul",
    "mm",
    "mv",
    "prelu",
    "rnn_tanh_cell",
    "rnn_relu_cell",
]
DOCUMENTED_FLOAT32 = [
    "acos",
    "asin",
    "binary_cross_entropy_with_logits",
    "cdist",
    "cosh",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cumprod",
    "cumsum",
    "dist",
    "erfinv",
    "exp",
    "expm1",
    "group_norm",
    "hinge_embedding_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "log",
    "log10",
    "log_softmax",
    "log1p",
    "log2",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "nll_loss",
    "norm",
    "pdist",
    "poisson_nll_loss",
    "pow",
    "prod",
    "reciprocal",
    "renorm",
    "rsqrt",
    "sinh",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softplus",
    "sum",
    "tan",
    "triplet_margin_loss",
]
DOCUMENTED_WIDEST = [
    "addcdiv",
    "addcmul",
    "atan2",
    "bilinear",
    "cross",
    "dot",
    "grid_sampler",
    "index_put",
    "scatter_add",
    "tensordot",
]


def packets(names):
    return {name.partition(".")[0] for name in names}


def test_the_lists_are_the_documented_ones_and_the_dispatchers():
    high = cuda_autocast.TO_FLOAT32 | cuda_autocast.GIVE_FLOAT32
    assert set(DOCUMENTED_LOW) <= packets(cuda_autocast.TO_LOW)
    assert set(DOCUMENTED_FLOAT32) <= packets(high)
    assert set(DOCUMENTED_WIDEST) <= packets(cuda_autocast.TO_WIDEST)
    assert cuda_autocast.registered("AutocastCUDA") == cuda_autocast.LISTED


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        (lambda: M @ M, torch.bfloat16),
        (lambda: F.conv2d(X, torch.rand(4, 3, 1, 1)), torch.bfloat16),
        (lambda: F.conv_transpose2d(X, torch.rand(3, 4, 1, 1)), torch.bfloat16),
        (lambda: F.prelu(X, torch.rand(3)), torch.bfloat16),
        (lambda: torch.einsum("ij,jk", M, M), torch.bfloat16),
        (lambda: F.softmax(LOW, 1), torch.float32),
        (lambda: LOW.sum(), torch.float32),
        (lambda: LOW.sum(1), torch.float32),
        (lambda: LOW.exp(), torch.float32),
        (lambda: LOW**2, torch.float32),
        (lambda: F.layer_norm(LOW, (8,)), torch.float32),
        (lambda: F.group_norm(LOW, 3), torch.float32),
        (lambda: F.mse_loss(LOW, LOW), torch.float32),
        (lambda: F.interpolate(LOW, scale_factor=2), torch.float32),
        (lambda: torch.addcmul(X, LOW, LOW), torch.float32),
        # In CPU's lists alone, so these stay.
        (lambda: F.pad(LOW, (1, 1, 1, 1), mode="reflect"), torch.bfloat16),
        (lambda: F.avg_pool2d(LOW, 2), torch.bfloat16),
        (lambda: F.adaptive_max_pool2d(LOW, 2), torch.bfloat16),
        (lambda: F.gelu(LOW), torch.bfloat16),
        (lambda: F.batch_norm(LOW, None, None, training=True), torch.bfloat16),
    ],
)
def test_types_are_cudas_within_autocast(call, dtype):
    with cuda_operators():
        with torch.autocast("cuda", torch.bfloat16):
            assert call().dtype == dtype
        before = call().dtype
    assert call().dtype == before


@pytest.mark.filterwarnings("ignore")
def test_everything_is_as_before_afterwards():
    with cuda_operators(), torch.autocast("cuda", torch.bfloat16):
        pass
    with torch.autocast("cpu", torch.bfloat16):
        assert F.avg_pool3d(LOW[None], 2).dtype == torch.float32
        assert (M @ M).dtype == torch.bfloat16
        assert LOW.exp().dtype == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cuda")


LAYERS = (
    lambda: nn.Conv3d(3, 32, 3, padding=1),
    lambda: nn.Conv3d(32, 32, 3, padding=1),
    lambda: nn.AdaptiveAvgPool3d(1),
    nn.Flatten,
    lambda: nn.Linear(32, 5),
)


class Plain(nn.Sequential):
    def __init__(self):
        super().__init__(*(layer() for layer in LAYERS))


with warnings.catch_warnings():
    # Without a GPU torch switches such a decorator off where it is made.
    warnings.simplefilter("ignore")

    class Decorated(Plain):
        @torch.autocast("cuda", dtype=torch.bfloat16)
        def forward(self, input):
            return super().forward(input)

    class Off(Plain):
        @torch.autocast("cuda", enabled=False)
        def forward(self, input):
            return super().forward(input)


class Within(Plain):
    def forward(self, input):
        with torch.autocast("cuda", torch.bfloat16):
            return super().forward(input)


class WithinOld(Plain):
    def forward(self, input):
        with torch.cuda.amp.autocast(dtype=torch.bfloat16):
            return super().forward(input)


class OnCpu(Plain):
    def forward(self, input):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(input)


@pytest.mark.filterwarnings("ignore")
def test_autocast_inside_of_forward_is_seen():
    peaks = {net: predict_peak(net, SHAPE).peak_bytes for net in (Plain, Decorated, Within)}
    low = predict_peak(Plain, SHAPE, autocast="bfloat16").peak_bytes
    assert peaks[Decorated] == pytest.approx(low, rel=0.01)
    assert peaks[Within] == pytest.approx(low, rel=0.01)
    assert predict_peak(WithinOld, SHAPE).peak_bytes == pytest.approx(low, rel=0.01)
    assert low < 0.7 * peaks[Plain]
    # Neither of CPU's autocast nor of one that is off does CUDA see anything.
    assert predict_peak(OnCpu, SHAPE).peak_bytes == peaks[Plain]
    assert predict_peak(Off, SHAPE).peak_bytes == peaks[Plain]


@pytest.mark.filterwarnings("ignore")
def test_on_cpu_it_is_cpus():
    for net in (OnCpu, Plain):
        predicted = predict_peak(net, SHAPE, device="cpu").peak_bytes
        assert predicted == pytest.approx(
            measure_peak(net, SHAPE, device="cpu").peak_bytes, rel=0.01
        )


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(STDCFConv3d(channels, 8, 3, padding=1, plan="composed"), nn.ReLU())
            for channels in (3, 8)
        )

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3, 4))


def test_a_block_that_runs_again_meets_the_autocast_of_its_first_run():
    """The layer keeps what autocast makes of its input, which is float32 in the first block."""
    plain = predict_peak(Blocks, SHAPE, savers=["bf16"]).peak_bytes
    assert predict_peak(Blocks, SHAPE, savers=["bf16", "checkpoint"]).peak_bytes < plain
