"""BatchNorm's statistics before a test: what they are, and that training goes on as before."""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from stdcf.stages.apply import apply_stage
from stdcf.stages.stage import Stage, full_size, itsl
from stdcf.training.checkpoint import load_checkpoint
from stdcf.training.recalibrate import has_statistics, recalibrated, settle
from stdcf.training.step import Numerics
from tests.training.test_trainer import LAYERS, make_trainer, numbers, weights

CPU = Numerics(torch.device("cpu"), channels_last=False)


def test_statistics_are_the_plain_average_of_batches_without_dropout() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm3d(2, momentum=0.3)
    model = nn.Sequential(nn.Dropout(0.5), norm)
    model.train()
    model(torch.rand(2, 2, 2, 4, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [torch.randint(0, 256, (3, 2, 2, 4, 4), dtype=torch.uint8) for _ in range(4)]
    with recalibrated(model, batches, CPU):
        assert not any(module.training for module in model.modules())
        seen = [CPU.prepare(batch) for batch in batches]
        mean = torch.stack([x.mean((0, 2, 3, 4)) for x in seen]).mean(0)
        var = torch.stack([x.var((0, 2, 3, 4)) for x in seen]).mean(0)
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, var)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert norm.momentum == 0.3
    assert all(module.training for module in model.modules())


def test_an_error_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm3d(2))
    before = model[0].running_var.clone()
    with pytest.raises(ZeroDivisionError), recalibrated(model, [torch.rand(2, 2, 2, 4, 4)], CPU):
        _ = 1 / 0
    assert torch.equal(model[0].running_var, before)
    assert model.training


def test_networks_without_batch_norm_have_nothing_to_estimate() -> None:
    assert not has_statistics(nn.Sequential(nn.GroupNorm(1, 2), nn.InstanceNorm3d(2)))
    assert not has_statistics(nn.BatchNorm3d(2, track_running_stats=False))
    assert has_statistics(nn.BatchNorm3d(2))


@pytest.mark.parametrize("layer", LAYERS)
def test_training_is_the_same_with_and_without_it(tmp_path: Path, layer: str) -> None:
    plain = itsl(1, epochs=2, lr=1e-2)
    again = itsl(1, epochs=2, lr=1e-2, recalibrate=True)
    first, second = (
        make_trainer(tmp_path / "a", plain, layer),
        make_trainer(tmp_path / "b", again, layer),
    )
    a, b = numbers(first.run()), numbers(second.run())
    assert all(torch.equal(x, weights(second)[n]) for n, x in weights(first).items())
    assert a["epochs"] == b["epochs"]
    own = ("recalibrated_accuracy", "recalibrated_video_accuracy")
    assert all(0 <= stage[name] <= 1 for stage in b["stages"] for name in own)
    assert a["stages"] == [
        {k: v for k, v in stage.items() if k not in own} for stage in b["stages"]
    ]


def test_precise_statistics_are_those_of_all_batches_in_training_mode_and_stay() -> None:
    torch.manual_seed(0)
    first, second = nn.BatchNorm3d(2, momentum=0.3), nn.BatchNorm3d(2)
    model = nn.Sequential(first, nn.Dropout(0.5), second)
    # Batches of unlike clips and sizes.
    batches = [
        torch.randint(low, high, (clips, 2, 4, 8, 8), dtype=torch.uint8)
        for low, high, clips in ((0, 64, 3), (192, 256, 1), (100, 140, 2))
    ]
    stage = Stage(name="t", epochs=1, lr=1.0, temporal_stride=2, spatial_scale=0.5)
    state = torch.get_rng_state()
    settle(model, [*batches, batches[0][:0]], CPU, stage, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    seen = [CPU.prepare(batch, stage) for batch in batches]
    assert seen[0].shape == (3, 2, 2, 4, 4)
    together = torch.cat(seen)
    torch.testing.assert_close(first.running_mean, together.mean((0, 2, 3, 4)))
    torch.testing.assert_close(first.running_var, together.var((0, 2, 3, 4), correction=0))
    within = torch.stack([x.var((0, 2, 3, 4)) for x in seen]).mean(0)
    assert (first.running_var > 1.5 * within).all()
    # Behind dropout the variance is larger than without: 1/(1 − p) times the mean square.
    assert (second.running_var > 1.5).all()
    assert first.momentum == 0.3
    again = copy.deepcopy(model)
    settle(again, batches, CPU, stage, seed=5)
    assert torch.equal(again[2].running_var, second.running_var)


def test_precise_statistics_are_fvcores() -> None:
    with warnings.catch_warnings():
        # It imports a deprecated corner of torch.
        warnings.simplefilter("ignore", FutureWarning)
        from fvcore.nn.precise_bn import update_bn_stats
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.ReLU(), nn.BatchNorm3d(4))
    theirs = copy.deepcopy(model)
    shape, ranges = (8, 3, 8, 12, 12), ((0, 64), (192, 256), (100, 140))
    batches = [torch.randint(low, high, shape, dtype=torch.uint8) for low, high in ranges]
    (stage,) = full_size(epochs=1, lr=1.0)
    seen = [CPU.prepare(batch, stage) for batch in batches]
    update_bn_stats(theirs, seen, num_iters=3)
    for parts in (1, 4):
        ours = copy.deepcopy(model)
        apply_stage(ours, stage.changed(norm_parts=parts))
        settle(ours, batches, CPU, stage, seed=0)
        torch.testing.assert_close(ours[1].running_mean, theirs[1].running_mean)
        torch.testing.assert_close(ours[1].running_var, theirs[1].running_var)
        # What comes before the second one was normalised in parts.
        same = torch.allclose(ours[3].running_var, theirs[3].running_var)
        assert same == (parts == 1)


def test_a_frozen_layer_keeps_its_statistics() -> None:
    model = nn.Sequential(nn.BatchNorm3d(2), nn.BatchNorm3d(2))
    stage = Stage(name="t", epochs=1, lr=1.0, frozen_norm="but_first")
    settle(model, [torch.rand(2, 2, 2, 4, 4)], CPU, stage, seed=0)
    assert model[0].running_mean.any()
    assert not model[1].running_mean.any()


def test_a_stages_weights_hold_its_precise_statistics(tmp_path: Path) -> None:
    (stage,) = full_size(epochs=1, lr=1e-2)
    for number in (0, 1):
        folder = tmp_path / str(number)
        make_trainer(folder, (stage.changed(precise_batches=number),)).run()
    plain, precise = (load_checkpoint(tmp_path / n / "stage-full.pt") for n in "01")
    moved = {name for name in plain if not torch.equal(plain[name], precise[name])}
    assert moved == {n for n in plain if n.endswith(("_mean", "_var", "_tracked"))}
