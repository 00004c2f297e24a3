"""Multigrid, growing and half-size schedules, against their papers' numbers."""

import pytest
import torch
from torch import nn

from stdcf.errors import UserError
from stdcf.models import create_model
from stdcf.stages.apply import apply_stage
from stdcf.stages.schedules import half_size, half_time, multigrid, progressive, scaled_rate
from stdcf.stages.stage import Stage, total_cost
from stdcf.training.epoch_steps import EpochSteps

BATCH = (8, 3, 16, 224, 224)


def test_the_long_cycle_is_the_papers() -> None:
    """Wu et al. 2020: 8B×T/4×H/√2, 4B×T/2×H/√2, 2B×T/2×H, B×T×H, then fine-tuning."""
    stages = multigrid(100, lr=0.1, optimizer="sgd")
    assert [stage.clip_shape(BATCH) for stage in stages] == [
        (64, 3, 4, 158, 158),
        (32, 3, 8, 158, 158),
        (16, 3, 8, 224, 224),
        BATCH,
        BATCH,
    ]
    # By the linear rule; BatchNorm sees as many clips as without the long cycle.
    assert [stage.lr for stage in stages] == pytest.approx([0.8, 0.4, 0.2, 0.1, 0.1])
    assert [stage.norm_parts for stage in stages] == [8, 4, 2, 1, 1]
    *_, last = stages
    assert [last.lr_at(epoch) for epoch in (0, last.epochs - 1)] == pytest.approx([0.1, 0.01])
    assert last.milestones == (last.epochs // 2,)
    assert [stage.fresh_optimizer for stage in stages] == [True] + 4 * [False]


def test_the_short_cycle_is_the_papers() -> None:
    """H/2 with four times, H/√2 with twice, H with one times the clips, in turn."""
    fourth = multigrid(100, lr=0.1)[3]
    assert [member.clip_shape(BATCH) for member in fourth.members()] == [
        (32, 3, 16, 112, 112),
        (16, 3, 16, 158, 158),
        BATCH,
    ]
    # Where the long cycle's frames are smaller already, they stay.
    first = multigrid(100, lr=0.1)[0]
    assert [member.clip_shape(BATCH)[-1] for member in first.members()] == [112, 158, 158]
    steps = EpochSteps(fourth, 8, 32 + 16 + 8 + 32 + 5, BATCH[1:])
    assert steps.sizes == [32, 16, 8, 32, 5]
    assert [steps.start(n) for n in range(5)] == [0, 32, 48, 56, 88]
    assert steps.stage_at(4).clip_shape(BATCH[2:]) == (16, 158, 158)
    # The largest clips of a whole batch, once the optimiser's state is there.
    assert steps.measured() == 2


def test_every_step_of_multigrid_computes_as_much() -> None:
    for stage in multigrid(100, lr=0.1):
        for member in stage.members():
            clips, _, t, h, w = member.clip_shape(BATCH)
            assert clips * t * h * w == pytest.approx(8 * 16 * 224 * 224, rel=0.01)
    # Each size of the long cycle for as many steps, and a quarter of the computation is left.
    *cycle, last = multigrid(1000, lr=0.1)
    costs = [stage.epochs * stage.relative_cost() for stage in cycle]
    assert costs == pytest.approx([187.5] * 4, rel=0.01)
    assert last.epochs == 250


@pytest.mark.parametrize("schedule", [multigrid, progressive, half_size, half_time])
@pytest.mark.parametrize("computation", [11.25, 45, 90])
def test_computation_is_what_was_asked_for(schedule, computation) -> None:
    stages = schedule(computation, lr=0.1)
    assert total_cost(stages) == pytest.approx(computation, rel=0.08)
    assert stages[-1].clip_shape(BATCH) == BATCH
    assert all(stage.test_dilation == (1, 1) for stage in stages)


def test_progressive_clips_grow_to_full_size() -> None:
    stages = progressive(100, lr=0.1)
    sizes = [stage.clip_shape((16, 120, 120)) for stage in stages]
    assert sizes == [(8, 60, 60), (8, 80, 80), (16, 100, 100), (16, 120, 120)]
    assert [stage.epochs for stage in stages] == [49, 49, 49, 49]
    # Three quarters of the epochs at the rate, the rest at a tenth.
    assert [stage.lr for stage in stages] == pytest.approx([0.1, 0.1, 0.1, 0.01])
    # Rounding is made up for at the end.
    assert [stage.epochs for stage in progressive(11.25, lr=0.1)] == [6, 6, 6, 5]
    within = progressive(100, lr=0.1, falls_after=0.5, steps=3)
    assert within[1].milestones == (round(1.5 * within[1].epochs) - within[1].epochs,)
    with pytest.raises(UserError, match="at least 2 sizes"):
        progressive(10, lr=0.1, steps=1)


def test_half_size_and_half_time_end_at_full_size_and_a_tenth_of_the_rate() -> None:
    small, full = half_size(40, lr=0.1, batch_scale=2)
    assert small.clip_shape(BATCH) == (16, 3, 16, 112, 112)
    assert (small.epochs, full.epochs) == (120, 10)
    assert (small.lr, full.lr) == pytest.approx((0.1 * 2**0.5, 0.01))
    assert half_time(40, lr=0.1)[0].clip_shape(BATCH) == (8, 3, 8, 224, 224)


def test_rates_grow_with_the_batch() -> None:
    assert scaled_rate(0.1, 4, "sgd") == pytest.approx(0.4)
    assert scaled_rate(0.1, 4, "adamw") == pytest.approx(0.2)


def test_batch_norm_takes_the_statistics_of_parts() -> None:
    torch.manual_seed(0)
    model = create_model("kth_cnn", dropout=0.0)
    parts, plain = Stage(name="a", epochs=1, lr=0.1, norm_parts=2), Stage(name="b", epochs=1, lr=1)
    apply_stage(model, parts)
    model.train()
    clip = torch.randn(5, 1, 4, 16, 16)
    found, norm = model(clip), model.blocks[0][1]
    assert isinstance(norm, nn.BatchNorm3d)
    assert norm.num_batches_tracked == 2
    apply_stage(model, plain)
    expected = torch.cat([model(part) for part in clip.tensor_split(2)])
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(model(clip), expected, rtol=0.01)
    apply_stage(model, parts)
    model.eval()
    torch.testing.assert_close(model(clip), torch.cat([model(clip[:1]), model(clip[1:])]))
