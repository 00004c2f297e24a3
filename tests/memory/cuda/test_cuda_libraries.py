"""What cuBLAS and cuDNN take, as modelled, against steps that were measured on a GPU."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from stdcf.memory import predict_peak
from stdcf.memory.cuda.cuda_libraries import convolution_workspace_bytes, cublas_bytes
from suites.experiments.gpu_evidence.cases import every_saver, table2, table3
from suites.experiments.gpu_evidence.memory_task import draw_case, step_arguments

MEASURED = Path(__file__).parents[3] / "results/runs/gpu_evidence"
CASES = {
    one["name"]: one
    for groups in (table2(), table3(), every_saver())
    for _, g in groups
    for one in g
}


def measured() -> dict[str, dict]:
    """Steps that were measured on a GPU, by name."""
    found = {}
    for file in MEASURED.glob("*/*/result.json"):
        row = json.loads(file.read_text())
        if row["mode"][:2] in ("2-", "3-", "4-") and "-workspaces-" not in row["mode"]:
            assert row["device"].startswith("cuda")
            found |= {one["name"]: one for one in row["cases"] if one["status"] == "ok"}
    return found


@pytest.mark.parametrize(
    "name",
    [
        "kth_cnn regular full float32",
        "kth_cnn rank1 relu_saves=input s1 float32",
        "kth_cnn stdcf full accumulate=4 bfloat16",
        "resnet3d_50 stdcf t1 float32",
        "resnet3d_50 regular full offload float32",
        "tsn_r50 full checkpoint float32",
        "i3d_r50 full int8 bfloat16",
    ],
)
def test_predicted_within_five_percent_of_what_a_gpu_allocated(name: str) -> None:
    one = CASES[name]
    report = predict_peak(partial(draw_case, one), device="cuda", **step_arguments(one))
    assert report.allocated_bytes == pytest.approx(measured()[name]["peak_bytes"], rel=0.05)


@pytest.mark.parametrize(
    "name",
    [
        "kth_cnn regular full recompute float32",
        "kth_cnn regular relu_saves=output s1 float32",
        "resnet3d_50 stdcf full float32",
        "i3d_r50 full recompute float32",
        "tsm_r50 full recompute float32",
    ],
)
def test_predicted_within_ten_percent_of_what_a_gpu_reserved(name: str) -> None:
    one = CASES[name]
    report = predict_peak(partial(draw_case, one), device="cuda", **step_arguments(one))
    assert report.reserved_bytes == pytest.approx(measured()[name]["reserved_bytes"], rel=0.1)


def test_of_the_caps_that_a_gpu_held_it_names_those_that_ran() -> None:
    """Ten steps under a limit, none between; what ran needs no more than the limit, by 2%."""
    for file in MEASURED.glob("*/*-5-cap-*/result.json"):
        row = json.loads(file.read_text())
        one = CASES[row["case"]]
        report = predict_peak(partial(draw_case, one), device="cuda", **step_arguments(one))
        least = report.smallest_cap_bytes
        assert least is not None
        ran = [x["cap_bytes"] for x in row["cases"] if x["status"] == "ok"]
        failed = [x["cap_bytes"] for x in row["cases"] if x["status"] == "oom"]
        assert max(failed) < least <= 1.02 * min(ran)


def extra_bytes(layer: nn.Module, shape: tuple[int, ...], **options: object) -> int:
    """What a prediction for CUDA counts beside the tensors' blocks, for a net of one layer."""

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return output.sum()

    report = predict_peak(lambda: layer, shape, device="cuda", loss=loss, **options)
    assert report.allocated_bytes is not None
    return report.allocated_bytes - report.peak_bytes


def test_cublas_keeps_a_workspace_for_each_thread_that_multiplies() -> None:
    layer = nn.Sequential(nn.Flatten(), nn.Linear(64, 32))
    assert extra_bytes(layer, (4, 1, 4, 4, 4)) == pytest.approx(2 * cublas_bytes(), abs=2**16)
    assert extra_bytes(nn.BatchNorm3d(1), (4, 1, 4, 4, 4)) < 2**16


def test_cudnn_lays_out_contiguous_operands_anew() -> None:
    shape = (4, 8, 8, 32, 32)
    clip_bytes = 4 * 4 * 8 * 8 * 32 * 32
    # The clip needs no gradient: the output, its gradient, and both laid out anew with the filter.
    found = extra_bytes(nn.Conv3d(8, 8, 3, padding=1, bias=False), shape)
    assert found == pytest.approx(2 * clip_bytes, rel=0.1)
    assert extra_bytes(nn.Conv3d(8, 8, 3, padding=1, groups=8), shape) < 0.1 * clip_bytes
    last = extra_bytes(nn.Conv3d(8, 8, 3, padding=1), shape, memory_format="channels_last_3d")
    assert last < 0.1 * clip_bytes


def workspace(channels: int, backward: bool) -> int:
    """Of a filter 3×3×3 to 16 channels on clips of 4×8×8, in floats."""
    clip, weight = torch.empty(2, channels, 4, 8, 8), torch.empty(16, channels, 3, 3, 3)
    out = torch.empty(2, 16, 4, 8, 8)
    ones, nothing = [1, 1, 1], [0, 0, 0]
    rest = (None, ones, ones, ones, False, nothing, 1)
    if backward:
        arguments = (out, clip, weight, *rest, [False, True, False])
        packet: object = torch.ops.aten.convolution_backward
    else:
        arguments = (clip, weight, *rest)
        packet = torch.ops.aten.convolution
    return convolution_workspace_bytes(packet, arguments, out) // 4


def test_few_channels_need_more_for_the_filters_gradient_and_one_is_not_laid_out() -> None:
    position, filter_size = 2 * 4 * 8 * 8, 16 * 27
    assert workspace(1, False) == filter_size + 16 * position
    assert workspace(3, False) == 3 * filter_size + 19 * position
    assert workspace(8, True) == 8 * filter_size + (8 + 16) * position
    assert workspace(3, True) == 3 * filter_size + (3 + 2 * 16) * position
