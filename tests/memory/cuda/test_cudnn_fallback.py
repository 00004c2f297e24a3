"""Half-precision 3D convolutions without cuDNN: by version, and as pytorch#166643 measured them."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory import LifeTracker, predict_peak
from stdcf.memory.cuda.cuda_libraries import CudaLibraries
from stdcf.memory.cuda.cudnn_fallback import Versions, takes_columns
from stdcf.memory.cuda.smallest_cap import Requests

GIB = 2**30


@pytest.mark.parametrize(
    ("torch_version", "cudnn_version", "falls_back"),
    [
        ("2.8.0", "9.10", False),
        ("2.9.0", "9.7", False),
        ("2.9.0", "9.10.2", True),
        ("2.9.0+cu128", "91500", True),
        ("2.9.1", "9.7.1", False),
        ("2.9.1", "9.8.0", True),
        ("2.9.1", "91002", True),
        ("2.9.1", "9.14", True),
        ("2.9.1", "9.15", False),
        ("2.10.0", "9.10", True),
        ("2.11.0", "91900", False),
    ],
)
def test_it_goes_by_both_versions(torch_version: str, cudnn_version: str, falls_back: bool) -> None:
    versions = Versions.read(torch_version, cudnn_version)
    assert versions.falls_back is falls_back
    assert ("9.15 or later" in versions.warning) is falls_back


def test_it_reads_this_machines_and_refuses_words() -> None:
    assert Versions.read().torch[0] >= 2
    with pytest.raises(UserError, match="'new' is not a version of cuDNN"):
        Versions.read("2.9.1", "new")


def repeated(dtype: torch.dtype, falls_back: bool) -> int:
    """The allocator's peak over convolutions of the report: (1, 96, 6, 626, 626) with 96 3×3×3."""
    model = nn.Conv3d(96, 96, 3).to(dtype)
    libraries = CudaLibraries(falls_back)
    with FakeTensorMode():
        clip = torch.empty(1, 96, 6, 626, 626, dtype=dtype)
        weight, bias = torch.empty(model.weight.shape, dtype=dtype), torch.empty(96, dtype=dtype)
        tracker = LifeTracker(nn.Identity(), None, [clip, weight, bias], on_operator=libraries.note)
        libraries.tracker = tracker
        with tracker, torch.no_grad():
            for _ in range(3):
                output = F.conv3d(clip, weight, bias)
        assert output.shape[1] == 96
    requests = Requests([*tracker.lives, *libraries.lives])
    return requests.replay(1).peak_allocated_bytes


@pytest.mark.parametrize(
    ("dtype", "falls_back", "reported_gib"),
    [(torch.bfloat16, True, 8.5288), (torch.float32, False, 3.3555), (torch.float32, True, 3.3555)],
)
def test_the_reports_peaks(dtype: torch.dtype, falls_back: bool, reported_gib: float) -> None:
    assert repeated(dtype, falls_back) / GIB == pytest.approx(reported_gib, rel=0.005)


@pytest.mark.parametrize(
    ("sizes", "falls"),
    [((3, 3, 3), True), ((1, 3, 3), True), ((3, 1, 1), True), ((1, 1, 1), False)],
)
def test_which_convolutions(sizes: tuple[int, int, int], falls: bool) -> None:
    clip, weight = torch.empty(2, 4, 8, 8, 8), torch.empty(4, 4, *sizes)
    assert not takes_columns(clip, weight)
    half = clip.bfloat16(), weight.bfloat16()
    assert takes_columns(*half) is falls
    assert takes_columns(clip.half(), weight.half()) is falls
    last = [tensor.to(memory_format=torch.channels_last_3d) for tensor in half]
    assert not takes_columns(*last)
    assert not takes_columns(clip[:, :, 0].bfloat16(), weight[:, :, 0].bfloat16())


def test_a_step_takes_columns_for_one_sample() -> None:
    def build() -> nn.Module:
        convs = [nn.Conv3d(3, 32, 3, padding=1), nn.Conv3d(32, 32, 3, padding=1)]
        return nn.Sequential(*convs, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 5))

    options: dict[str, Any] = {"autocast": "bfloat16", "optimizer": "sgd"}
    predict = partial(predict_peak, build, (2, 3, 8, 32, 32), **options)
    old = predict(torch_version="2.9.1", cudnn_version="9.10")
    new = predict(torch_version="2.9.1", cudnn_version="9.16")
    assert old.peak_bytes == new.peak_bytes
    columns = 32 * 27 * 8 * 32 * 32 * 2
    rows = old.timeline()
    largest = rows[rows.operator == "vol2col"].bytes
    assert largest.max() == columns
    assert len(largest) == 4
    laid_out = new.timeline()
    less = laid_out[laid_out.operator == "cuDNN"].bytes.max()
    assert old.allocated_bytes - new.allocated_bytes == pytest.approx(columns - less, rel=0.5)
    single = partial(predict_peak, build, (2, 3, 8, 32, 32), optimizer="sgd")
    assert (
        single(torch_version="2.9.1", cudnn_version="9.10").allocated_bytes
        == single(torch_version="2.8.0", cudnn_version="9.10").allocated_bytes
    )
