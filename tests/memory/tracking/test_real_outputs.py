"""Operators whose fake kernel gives another storage or type than the real one."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing._internal.two_tensor import TwoTensor

from stdcf.memory import measure_peak, predict_peak
from stdcf.memory.tracking.lives import storages

SHAPE = (2, 3, 8, 32, 32)
LOSSES = {
    "mse": F.mse_loss,
    "mse sum": lambda x, y: F.mse_loss(x, y, reduction="sum"),
    "mse none": lambda x, y: F.mse_loss(x, y, reduction="none").mean(),
    "two mse": lambda x, y: F.mse_loss(x, y) + F.mse_loss(x, 2 * y),
    "l1": F.l1_loss,
    "smooth l1": F.smooth_l1_loss,
    "huber": F.huber_loss,
    "bce": lambda x, y: F.binary_cross_entropy(x.sigmoid(), y),
    "bce with logits": F.binary_cross_entropy_with_logits,
    "soft margin": F.soft_margin_loss,
    "kl": lambda x, y: F.kl_div(x, y, reduction="batchmean"),
    "poisson": F.poisson_nll_loss,
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    peaks = [
        peak(lambda: nn.Conv3d(3, 3, 1), SHAPE, device="cpu", loss=LOSSES[name]).peak_bytes
        for peak in (predict_peak, measure_peak)
    ]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.001)


class Normed(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv3d(3, 8, 1), norm, nn.Linear(8, 5)

    def forward(self, clip_BCTHW):
        return self.head(self.norm(self.conv(clip_BCTHW)).relu().mean((2, 3, 4)))


@pytest.mark.parametrize("low", [False, True], ids=["autocast", "bfloat16"])
@pytest.mark.parametrize(
    "norm",
    [
        lambda: nn.GroupNorm(4, 8),
        lambda: nn.GroupNorm(1, 8),
        lambda: nn.BatchNorm3d(8),
        lambda: nn.InstanceNorm3d(8, affine=True),
        lambda: nn.LayerNorm([8, 32, 32]),
    ],
    ids=["group", "one group", "batch", "instance", "layer"],
)
def test_norms_in_bfloat16(norm, low):
    def build():
        model = Normed(norm())
        return model.bfloat16() if low else model

    options = {} if low else {"autocast": "bfloat16"}
    peaks = [
        peak(build, SHAPE, device="cpu", **options).peak_bytes
        for peak in (predict_peak, measure_peak)
    ]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.01)


class Rows(nn.Module):
    """Frames as rows of 32 values, through a recurrent network."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, clip_BCTHW):
        return self.rnn(clip_BCTHW.mean(1).flatten(1, 2))[0].mean(1)


@pytest.mark.parametrize(
    "rnn",
    [
        lambda: nn.LSTM(32, 64, batch_first=True),
        lambda: nn.LSTM(32, 32, 2, bidirectional=True, dropout=0.2, batch_first=True),
        lambda: nn.LSTM(32, 64, proj_size=16, batch_first=True),
        lambda: nn.GRU(32, 32, batch_first=True),
        lambda: nn.RNN(32, 32, batch_first=True),
    ],
    ids=["lstm", "two layers, both ways", "projected", "gru", "rnn"],
)
def test_recurrent_networks(rnn):
    """oneDNN's workspace is most of an LSTM's memory."""
    peaks = [
        peak(lambda: Rows(rnn()), SHAPE, device="cpu").peak_bytes
        for peak in (predict_peak, measure_peak)
    ]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.01)


class Unfolds(nn.Conv2d):
    def forward(self, clip_BCTHW):
        patches = F.unfold(super().forward(clip_BCTHW[:, :, 0]), 3)
        return F.fold(patches * patches, (32, 32), 3).mean((2, 3))


def test_fold_and_unfold():
    peaks = [
        peak(lambda: Unfolds(3, 8, 1), SHAPE, device="cpu").peak_bytes
        for peak in (predict_peak, measure_peak)
    ]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.01)


@pytest.mark.filterwarnings("ignore")
def test_wrappers_count_by_what_they_hold():

    def n_bytes(tensor):
        return sum(storage.nbytes() for storage in storages([tensor]))

    a, b = torch.zeros(100), torch.zeros(100)
    assert n_bytes(TwoTensor(a, b)) == 2 * 400
    assert n_bytes(torch.quantize_per_tensor(a, 0.1, 0, torch.qint8)) == 100
    sparse = torch.eye(10).to_sparse()
    assert n_bytes(sparse) == 10 * 4 + 2 * 10 * 8
    rows = torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0])
    assert n_bytes(rows) == 2 * 4 + (3 + 2) * 8
