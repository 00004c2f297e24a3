"""SlowFast's pathways against the table of its paper."""

import pytest
import torch
from torch import nn

from baselines.models.slowfast_r50_8x8 import SlowFast


def test_shapes_are_those_of_the_papers_table() -> None:
    with torch.device("meta"):
        model = SlowFast()
        shapes = [
            (tuple(slow.shape[1:]), tuple(fast.shape[1:]))
            for slow, fast in model.pathways(torch.empty(1, 3, 32, 224, 224))
        ]
    # Slow: the paper's widths and twice the fast pathway's beside them; 8 frames and 32.
    assert shapes == [
        ((64 + 16, 8, 56, 56), (8, 32, 56, 56)),
        ((256 + 64, 8, 56, 56), (32, 32, 56, 56)),
        ((512 + 128, 8, 28, 28), (64, 32, 28, 28)),
        ((1024 + 256, 8, 14, 14), (128, 32, 14, 14)),
        ((2048, 8, 7, 7), (256, 32, 7, 7)),
    ]


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 7, 8, 9, 31])
def test_pathways_meet_at_any_number_of_frames(frames: int) -> None:
    with torch.device("meta"):
        model = SlowFast().eval()
        slow, fast = list(model.pathways(torch.empty(1, 3, frames, 32, 32)))[-1]
    assert (slow.shape[2], fast.shape[2]) == (-(-frames // 4), frames)


def test_laterals_stride_in_time_alone() -> None:
    with torch.device("meta"):
        model = SlowFast()
    convs = [lateral[0] for lateral in model.laterals]
    assert [(c.in_channels, c.out_channels) for c in convs] == [
        (8, 16),
        (32, 64),
        (64, 128),
        (128, 256),
    ]
    assert {(c.kernel_size, c.stride, c.padding) for c in convs} == {
        ((7, 1, 1), (4, 1, 1), (3, 0, 0))
    }


def test_the_slow_pathway_sees_every_fourth_frame_and_the_fast_one_all() -> None:
    torch.manual_seed(0)
    model = SlowFast(num_classes=2).eval()
    clip = torch.randn(1, 3, 8, 32, 32)

    def features(changed: int | None, joined: bool) -> tuple[torch.Tensor, torch.Tensor]:
        for lateral in model.laterals:
            nn.init.constant_(lateral[1].weight, float(joined))
        seen = clip.clone()
        if changed is not None:
            seen[:, :, changed] += 1
        with torch.no_grad():
            return list(model.pathways(seen))[-1]

    for joined in (False, True):
        slow, fast = features(None, joined)
        for frame in range(8):
            changed_slow, changed_fast = features(frame, joined)
            assert not torch.equal(fast, changed_fast)
            assert torch.equal(slow, changed_slow) == (not joined and frame % 4 != 0)


def test_temporal_kernels() -> None:
    with torch.device("meta"):
        model = SlowFast()
    slow = [[block.conv1.kernel_size[0] for block in stage] for stage in model.slow[1:]]
    fast = [[block.conv1.kernel_size[0] for block in stage] for stage in model.fast[1:]]
    assert slow == [[1] * 3, [1] * 4, [3] * 6, [3] * 3]
    assert fast == [[3] * 3, [3] * 4, [3] * 6, [3] * 3]
    assert model.slow[0][0].kernel_size == (1, 7, 7)
    assert model.fast[0][0].kernel_size == (5, 7, 7)
