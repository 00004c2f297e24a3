"""Accuracy on whole videos against its definition, and that stopping changes no digit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stdcf.data.clips.splits import VideoData
from stdcf.data.clips.streamed import VideoViews
from stdcf.data.sets import kinetics
from stdcf.data.tools import generate
from stdcf.errors import UserError
from stdcf.models import create_model
from stdcf.stages.stage import itsl
from stdcf.training.evaluate import Accuracy
from stdcf.training.multiview import evaluate_views
from stdcf.training.step import Numerics
from stdcf.training.trainer import Stopped, Trainer

AMOUNT = generate.Amount(classes=7, train=1, test=1, frames=40, size=(48, 64))
OPTIONS: dict[str, Any] = {
    "frames": 8,
    "interval": 3,
    "crop": 32,
    "short_side": [32, 40],
    "test_crop": 32,
    "test_short_side": 32,
    "test_clips": 3,
}
VIEWS = 9


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "tree"
    generate.generate("kinetics400", root, AMOUNT)
    return root


@pytest.fixture(scope="module")
def data(root: Path) -> VideoData:
    return kinetics.load(root, **OPTIONS)


class Colours(nn.Module):
    """Scores that depend on the clip alone, and a count of the clips seen."""

    def __init__(self, classes: int = 7, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight_KC = nn.Parameter(torch.randn(classes, 3, generator=generator))
        self.seen = 0

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        self.seen += len(x_BCTHW)
        return 3 * x_BCTHW.mean((2, 3, 4)) @ self.weight_KC.T


def test(
    model: nn.Module, data: VideoData, folder: Path, **options: Any
) -> tuple[Accuracy | None, dict[str, str]]:
    broken: dict[str, str] = {}
    assert isinstance(data.test, VideoViews)
    numerics = Numerics(torch.device("cpu"), pixels=data.pixels)
    options = {"batch_size": 4, "num_workers": 0} | options
    accuracy = evaluate_views(
        model,
        data.test,
        (1, 1),
        numerics,
        scores_file=folder / "scores.pt",
        on_broken=broken.__setitem__,
        **options,
    )
    return accuracy, broken


test.__test__ = False  # type: ignore[attr-defined]


def by_definition(model: Colours, data: VideoData) -> Accuracy:
    """Each video's views one by one, in numpy."""
    mean, std = (np.array(v).reshape(3, 1, 1, 1) for v in (data.pixels.mean, data.pixels.std))
    weight = model.weight_KC.detach().double().numpy()
    correct_views, ranks = [], []
    for index in range(len(data.test)):
        views, (label, *_), *_ = data.test.__getitems__([index])
        scores = []
        for clip in views.numpy():
            logits = weight @ (3 * ((clip / 255 - mean) / std).mean((1, 2, 3)))
            scores.append(np.exp(logits) / np.exp(logits).sum())
            correct_views.append(int(np.argmax(scores[-1])) == int(label))
        average = np.mean(scores, axis=0)
        ranks.append(int((average > average[int(label)]).sum()))
    rank_V = np.array(ranks)
    return Accuracy(
        float(np.mean(correct_views)),
        float((rank_V == 0).mean()),
        len(correct_views),
        len(rank_V),
        float((rank_V < 5).mean()),
    )


# Weights with which some videos are right, some wrong.
SEEDS = (3, 7, 8, 9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("batch_size", [4, 9, 20])
def test_accuracies_are_those_of_scores_averaged_over_views(data, tmp_path, seed, batch_size):
    model = Colours(seed=seed)
    accuracy, broken = test(model, data, tmp_path, batch_size=batch_size)
    expected = by_definition(model, data)
    assert expected.num_clips == 7 * VIEWS
    assert accuracy == expected
    assert broken == {}
    assert model.seen == 7 * VIEWS


def test_the_seeds_above_tell_right_from_wrong(data):
    """Else the test before would hold for a constant."""
    found = [by_definition(Colours(seed=seed), data) for seed in SEEDS]
    assert len({(a.clip, a.video, a.video_top5) for a in found}) == 4
    assert any(0 < a.video < (a.video_top5 or 0) < 1 for a in found)


def test_a_test_that_was_stopped_goes_on_and_ends_the_same(data, tmp_path):
    expected, _ = test(Colours(), data, tmp_path)
    (tmp_path / "scores.pt").unlink()
    model = Colours()
    asked = 0

    def stop_each_time() -> bool:
        nonlocal asked
        asked += 1
        return True

    attempts = 0
    accuracy = None
    while accuracy is None:
        attempts += 1
        accuracy, _ = test(model, data, tmp_path, should_stop=stop_each_time)
    assert accuracy == expected
    assert attempts == 7  # a video each
    assert model.seen == 7 * VIEWS  # none twice
    assert asked == 6


def test_scores_of_other_weights_are_not_gone_on_with(data, tmp_path):
    test(Colours(seed=1), data, tmp_path, should_stop=lambda: True)
    model = Colours(seed=2)
    accuracy, _ = test(model, data, tmp_path)
    assert accuracy == by_definition(model, data)
    assert model.seen == 7 * VIEWS


def test_a_finished_test_is_not_repeated(data, tmp_path):
    first, _ = test(Colours(), data, tmp_path)
    model = Colours()
    assert test(model, data, tmp_path)[0] == first
    assert model.seen == 0


def test_worker_processes_change_nothing(data, tmp_path):
    assert test(Colours(), data, tmp_path, num_workers=2)[0] == by_definition(Colours(), data)


def test_broken_videos_are_left_out_and_named_again_after_a_stop(root, tmp_path):
    shutil.copytree(root, tmp_path / "tree")
    first = sorted((tmp_path / "tree" / "val").iterdir())[0]
    first.write_bytes(b"")
    data = kinetics.load(tmp_path / "tree", **OPTIONS)
    stopped, named = test(Colours(), data, tmp_path, should_stop=lambda: True)
    assert stopped is None
    assert list(named) == [f"val/{first.name}"]
    accuracy, named = test(Colours(), data, tmp_path)
    assert accuracy is not None
    assert (accuracy.num_videos, accuracy.num_clips) == (6, 6 * VIEWS)
    assert list(named) == [f"val/{first.name}"]
    for video in (tmp_path / "tree" / "val").iterdir():
        video.write_bytes(b"")
    with pytest.raises(UserError, match="no test video can be decoded"):
        test(Colours(seed=1), kinetics.load(tmp_path / "tree", **OPTIONS), tmp_path)


def test_nan_is_an_error(data, tmp_path):
    model = Colours()
    nn.init.constant_(model.weight_KC, float("nan"))
    with pytest.raises(FloatingPointError, match="nan"):
        test(model, data, tmp_path)


STAGES = itsl(1, epochs=2, lr=1e-2, optimizer="sgd", weight_decay=1e-4)


def trainer(data: VideoData, folder: Path, **options: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = create_model("kth_cnn", num_classes=7, in_channels=3)
    numerics = Numerics(torch.device("cpu"), pixels=data.pixels)
    return Trainer(
        model, data, STAGES, batch_size=4, seed=0, numerics=numerics, folder=folder, **options
    )


def stop_at(questions: set[int]) -> Callable[[], bool]:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked in questions

    return should_stop


def test_training_on_random_clips_that_was_stopped_ends_the_same(data, tmp_path):
    """Stopped in an epoch, at a stage's end and between the videos of a test."""
    whole = trainer(data, tmp_path / "whole")
    expected = whole.run()
    # A stage asks after each of 4 steps and 7 videos but the last.
    should_stop = stop_at({1, 6, 9, 10, 13, 17})
    stops = 0
    while True:
        run = trainer(data, tmp_path / "stopped", should_stop=should_stop, num_workers=stops % 2)
        try:
            found = run.run()
            break
        except Stopped:
            stops += 1
    assert stops == 6
    assert found.stages == expected.stages
    assert [row["train_loss"] for row in found.epochs] == [
        row["train_loss"] for row in expected.epochs
    ]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name]), name
    assert found.stages[0].keys() >= {"video_accuracy", "video_top5"}
    assert found.stages[0]["test_videos"] == 7


def test_weight_decay_shrinks_what_no_gradient_moves(data, tmp_path):
    """SGD's by its formula: where the gradient is 0, w becomes w·(1 - lr·decay)."""
    run = trainer(data, tmp_path / "run")
    run.optimizer.param_groups[0]["lr"] = 1000.0
    weight = next(run.model.parameters())
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    run.optimizer.step()
    assert torch.allclose(weight, 0.9 * before)


def test_epochs_see_other_clips_of_the_same_videos(data, tmp_path, monkeypatch):
    run = trainer(data, tmp_path / "run")
    seen: list[Tensor] = []
    step = run._train_step

    def kept(clip: Tensor, *rest: Any) -> None:
        seen.append(clip.double().mean((1, 2, 3, 4)))
        step(clip, *rest)

    monkeypatch.setattr(run, "_train_step", kept)
    run.run()
    # 2 stages of 2 epochs of 7 clips, no two alike.
    values = torch.cat(seen)
    assert len(values) == 28
    assert len(values.unique()) == 28


def test_broken_training_videos_are_in_the_history(root, tmp_path):
    shutil.copytree(root, tmp_path / "tree")
    train = sorted((tmp_path / "tree" / "train").iterdir())
    # A whole batch of 4 among them, whatever the order: the step is left out.
    for video in train[:6]:
        video.write_bytes(b"")
    data = kinetics.load(tmp_path / "tree", **OPTIONS)
    history = trainer(data, tmp_path / "run").run()
    assert set(history.broken) == {f"train/{video.name}" for video in train[:6]}
    train[6].write_bytes(b"")
    data = kinetics.load(tmp_path / "tree", **OPTIONS)
    with pytest.raises(ValueError, match="no training video of kinetics400 can be decoded"):
        trainer(data, tmp_path / "none").run()
