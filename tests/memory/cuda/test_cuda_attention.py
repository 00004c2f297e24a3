"""Attention keeps a matrix where CUDA's math kernel runs, and none where a fused one does."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.memory import predict_peak
from stdcf.memory.cuda.cuda_attention import attention_kernel

LENGTH, HEADS = 1024, 4
MATRIX = 2 * HEADS * LENGTH**2 * 4


class Attends(nn.Module):
    def __init__(self, size=16, mask=None, **options):
        super().__init__()
        self.project, self.head = nn.Linear(HEADS * size, 3 * HEADS * size), nn.Linear(1, 2)
        self.embed = nn.Conv3d(3, HEADS * size, 1)
        self.size, self.mask, self.options = size, mask, options

    def forward(self, clip_BCTHW):
        x = self.project(self.embed(clip_BCTHW).flatten(2).transpose(1, 2))
        q, k, v = (t.unflatten(-1, (HEADS, self.size)).transpose(1, 2) for t in x.chunk(3, -1))
        mask = None if self.mask is None else self.mask(x)
        out = F.scaled_dot_product_attention(q, k, v, mask, **self.options)
        return self.head(out.mean((1, 2, 3)).unsqueeze(1))


SHAPE = (2, 3, 4, 16, 16)


@pytest.mark.parametrize("autocast", [None, "bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dropout_p": 0.1},
        {"is_causal": True},
        {"is_causal": True, "dropout_p": 0.5},
        {"mask": lambda x: torch.ones(LENGTH, LENGTH, dtype=torch.bool)},
        {"mask": lambda x: torch.zeros(LENGTH, LENGTH), "dropout_p": 0.1},
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_no_matrix_is_kept(options, autocast):
    report = predict_peak(lambda: Attends(**options), SHAPE, autocast=autocast)
    assert report.peak_bytes < MATRIX


def test_the_math_kernel_keeps_the_matrix():
    # float32 with heads of no multiple of four, and float64, no fused kernel takes.
    assert predict_peak(lambda: Attends(18), SHAPE).peak_bytes > 2 * MATRIX
    assert predict_peak(lambda: Attends().double(), SHAPE).peak_bytes > 2 * MATRIX
    low = predict_peak(lambda: Attends(18), SHAPE, autocast="bfloat16")
    assert low.peak_bytes < MATRIX


class Encoder(nn.Module):
    def __init__(self, dropout, weights=False):
        super().__init__()
        self.embed, self.head = nn.Conv3d(3, 64, 1), nn.Linear(64, 5)
        self.layer = nn.TransformerEncoderLayer(64, HEADS, 128, dropout=dropout, batch_first=True)
        self.attend = nn.MultiheadAttention(64, HEADS, dropout=dropout, batch_first=True)
        self.weights = weights

    def forward(self, clip_BCTHW):
        x = self.layer(self.embed(clip_BCTHW).flatten(2).transpose(1, 2))
        return self.head(self.attend(x, x, x, need_weights=self.weights)[0].mean(1))


def test_modules_of_torch():
    plain, dropped = (predict_peak(lambda p=p: Encoder(p), SHAPE).peak_bytes for p in (0.0, 0.1))
    assert plain < dropped < 1.3 * plain
    assert dropped < MATRIX
    # What asks for the weights gets the matrix.
    assert predict_peak(lambda: Encoder(0.1, True), SHAPE).peak_bytes > 2 * MATRIX


def qkv(size=64, dtype=torch.bfloat16, length=8):
    return [torch.zeros(2, 4, n, size, dtype=dtype) for n in (8, length, length)]


@pytest.mark.parametrize(
    ("tensors", "mask", "causal", "kernel"),
    [
        (qkv(), None, False, "flash"),
        (qkv(256), None, True, "flash"),
        (qkv(20), None, False, "flash"),
        (qkv(264), None, False, "efficient"),
        (qkv(), torch.zeros(8, 8), False, "efficient"),
        (qkv(length=9), None, True, "efficient"),
        (qkv(dtype=torch.float32), None, False, "efficient"),
        (qkv(20), torch.zeros(8, 8), False, "math"),
        (qkv(18, torch.float32), None, False, "math"),
        (qkv(dtype=torch.float64), None, False, "math"),
        ([t[0] for t in qkv()], None, False, "math"),
        # One head for all is taken, one batch for all is not.
        ([qkv()[0], *(t[:, :1] for t in qkv()[1:])], None, False, "flash"),
        ([qkv()[0], *(t[:1] for t in qkv()[1:])], None, False, "math"),
    ],
)
def test_the_choice_is_torchs(tensors, mask, causal, kernel):
    assert attention_kernel(*tensors, mask, causal) == kernel


def test_switched_off_kernels_are_not_taken():
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert attention_kernel(*qkv(), None, False) == "math"
