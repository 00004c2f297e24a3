"""The trainer: what moves, what is measured, and that stopping changes no digit."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.layers import Rank1Conv3d
from stdcf import STDCFConv3d
from stdcf.data.clips.clips import ClipDataset, plan_runs
from stdcf.data.clips.splits import VideoData
from stdcf.memory.predict import predict_stages
from stdcf.memory.tracking.tracker import CapExceeded
from stdcf.models import create_model
from stdcf.stages.schedules import multigrid
from stdcf.stages.stage import Stage, full_size, itsl
from stdcf.training.checkpoint import CheckpointError, load_checkpoint
from stdcf.training.evaluate import evaluate
from stdcf.training.history import History
from stdcf.training.step import Numerics
from stdcf.training.trainer import NotFinite, Stopped, Trainer

CPU = Numerics(torch.device("cpu"))
T, SIZE = 8, 16
LAYERS = {
    "regular": nn.Conv3d,
    "rank1": Rank1Conv3d,
    "stdcf": partial(STDCFConv3d, plan="composed"),
}
# Two epochs of three steps a stage, the last of each on a part of a batch.
STAGES = itsl(1, epochs=2, lr=1e-2, milestones=(1,))
BATCH, TRAIN, STEPS = 4, 11, 12


def clips(values: np.ndarray, labels: list[int], per_video: int = 1) -> ClipDataset:
    """One video for each label, cut into `per_video` clips. values: uint8 [N·T·per_video, H, W]."""
    videos = np.split(values[:, None], len(labels))
    plan = plan_runs(
        [(v, np.arange(c * T, (c + 1) * T)) for v in range(len(labels)) for c in range(per_video)],
        T,
    )
    return ClipDataset(videos, [f"v{v}" for v in range(len(labels))], labels, ("a", "b"), plan)


def make_data(train: int = TRAIN) -> VideoData:
    rng = np.random.default_rng(0)

    def part(n: int) -> ClipDataset:
        return clips(rng.integers(0, 256, (n * T, SIZE, SIZE), np.uint8), [i % 2 for i in range(n)])

    return VideoData("noise", ("a", "b"), part(train), part(6), "0" * 64, ())


def make_trainer(
    folder: Path, stages: tuple[Stage, ...] = STAGES, layer: str = "stdcf", **options: Any
) -> Trainer:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = create_model("kth_cnn", conv=LAYERS[layer], num_classes=2)
    # What else draws random numbers in the process must not matter.
    torch.manual_seed(options.pop("process_seed", 1))
    options = {"data": make_data(), "batch_size": BATCH, "seed": 0, "numerics": CPU} | options
    return Trainer(model, stages=stages, folder=folder, **options)


def numbers(history: History) -> dict[str, Any]:
    """All that was measured but times."""
    times = ("seconds", "clips_per_second")
    epochs = [{k: v for k, v in row.items() if k not in times} for row in history.epochs]
    return {"epochs": epochs, "stages": history.stages, "peaks": history.peaks}


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def stop_after(steps: int) -> Callable[[], bool]:
    """True at the `steps`-th question."""
    left = iter(range(steps - 1))
    return lambda: next(left, None) is None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict]:
    trainer = make_trainer(tmp_path_factory.mktemp("trainer") / "run")
    history = trainer.run()
    return numbers(history), weights(trainer)


def check(trainer: Trainer, undisturbed: tuple[dict[str, Any], dict]) -> None:
    assert numbers(trainer.run()) == undisturbed[0]
    assert equal(weights(trainer), undisturbed[1])


def test_the_number_of_data_workers_changes_nothing(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], dict]
) -> None:
    check(make_trainer(tmp_path, num_workers=2, process_seed=7), undisturbed)


# 3 and 9 end an epoch, 6 and 12 a stage.
@pytest.mark.parametrize("steps", range(1, STEPS + 1))
def test_a_run_stopped_after_any_step_ends_the_same(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], dict], steps: int
) -> None:
    with pytest.raises(Stopped):
        make_trainer(tmp_path, should_stop=stop_after(steps)).run()
    check(make_trainer(tmp_path, process_seed=steps), undisturbed)


def test_a_run_stopped_at_every_step_ends_the_same(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], dict]
) -> None:
    for attempt in range(STEPS):
        with pytest.raises(Stopped):
            make_trainer(tmp_path, should_stop=stop_after(1), process_seed=attempt).run()
    check(make_trainer(tmp_path), undisturbed)


@pytest.mark.parametrize("steps", [2, 4, 6, 7])
def test_a_run_killed_between_checkpoints_ends_the_same(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], dict], steps: int
) -> None:
    class Killed(Exception):
        pass

    left = stop_after(steps)

    def kill(_: object) -> None:
        if left():
            raise Killed

    with pytest.raises(Killed):
        make_trainer(tmp_path, on_progress=kill).run()
    check(make_trainer(tmp_path), undisturbed)


def test_a_finished_run_is_not_trained_again(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], dict]
) -> None:
    make_trainer(tmp_path).run()
    steps: list[object] = []
    check(make_trainer(tmp_path, on_progress=steps.append), undisturbed)
    assert steps == []


def test_the_optimiser_of_the_last_stage_survives_a_stop(tmp_path: Path) -> None:
    first = Stage(name="a", epochs=1, lr=1e-2)
    stages = (
        first,
        first.model_copy(update={"name": "b", "optimizer": "sgd"}),
        first.model_copy(update={"name": "c", "optimizer": "sgd", "fresh_optimizer": False}),
    )
    whole = make_trainer(tmp_path / "whole", stages)
    expected = numbers(whole.run())
    for steps in (6, 7):
        folder = tmp_path / str(steps)
        with pytest.raises(Stopped):
            make_trainer(folder, stages, should_stop=stop_after(steps)).run()
        check(make_trainer(folder, stages), (expected, weights(whole)))


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_stopped_run_by_multigrid_ends_the_same(tmp_path: Path, steps: int) -> None:
    """Steps of several sizes, a batch that changes with the stage, and one optimiser for all."""
    # All but the quarter of the frames, which this network is too deep for.
    _, *stages = multigrid(0.1, lr=1e-2)
    whole = make_trainer(tmp_path / "whole", tuple(stages))
    history = whole.run()
    expected = numbers(history)
    assert {report["input_shape"][0] for report in history.peaks.values()} > {BATCH}
    with pytest.raises(Stopped):
        make_trainer(tmp_path / "again", tuple(stages), should_stop=stop_after(steps)).run()
    check(make_trainer(tmp_path / "again", tuple(stages)), (expected, weights(whole)))


def test_another_seed_gives_other_numbers(
    tmp_path: Path, undisturbed: tuple[dict[str, Any], dict]
) -> None:
    history = make_trainer(tmp_path, seed=1).run()
    assert numbers(history)["epochs"] != undisturbed[0]["epochs"]


@pytest.mark.parametrize(
    ("layer", "frozen_in_t", "frozen_in_s"),
    [
        ("regular", (), ()),
        ("rank1", ("spatial.weight",), ("temporal.weight",)),
        ("stdcf", ("spatial_atoms",), ("temporal_atoms",)),
    ],
)
def test_frozen_parts_do_not_move(
    tmp_path: Path, layer: str, frozen_in_t: tuple[str, ...], frozen_in_s: tuple[str, ...]
) -> None:
    trainer = make_trainer(tmp_path, layer=layer)
    names = [name for name, _ in trainer.model.named_parameters()]
    before = weights(trainer)
    trainer.run()
    for stage, frozen in (("t1", frozen_in_t), ("s1", frozen_in_s)):
        after = load_checkpoint(tmp_path / f"stage-{stage}.pt")
        stayed = {name for name in names if torch.equal(before[name], after[name])}
        assert stayed == {name for name in names if name.endswith(frozen or ("nothing",))}
        before = after


@pytest.mark.parametrize("layer", LAYERS)
def test_each_stage_has_a_peak_as_predicted(tmp_path: Path, layer: str) -> None:
    stages = itsl(2, epochs=1, lr=1e-3)
    peaks = make_trainer(tmp_path, stages, layer=layer).run().peaks
    assert list(peaks) == ["t1", "s1", "t2", "s2"]
    predicted = predict_stages(
        lambda: create_model("kth_cnn", conv=LAYERS[layer], num_classes=2),
        (BATCH, 1, T, SIZE, SIZE),
        stages,
        device="cpu",
        memory_format="channels_last_3d",
    )
    for name, report in peaks.items():
        assert report["measured_by"] == "tracker_cpu"
        assert report["peak_bytes"] == pytest.approx(predicted[name].peak_bytes, rel=2e-3)


@pytest.mark.parametrize(
    ("train", "epochs", "batch"),
    [(3, 1, 3), (4, 1, 4), (5, 2, 4), (6, 1, 4)],
)
def test_tiny_stages_have_a_peak(tmp_path: Path, train: int, epochs: int, batch: int) -> None:
    """One step only, fewer clips than a batch, or a second step on a part of a batch."""
    stages = full_size(epochs=epochs, lr=1e-3)
    peaks = make_trainer(tmp_path, stages, data=make_data(train)).run().peaks
    shape = peaks["full"]["input_shape"]
    # Of two steps in all the second is taken, though it be small: it has the optimiser's state.
    assert shape[0] == (2 if (train, epochs) == (6, 1) else batch)


def test_the_rate_follows_the_milestones(tmp_path: Path) -> None:
    stages = full_size(epochs=4, lr=1e-2, milestones=(1, 3))
    used = []
    trainer = make_trainer(
        tmp_path, stages, on_progress=lambda _: used.append(trainer.optimizer.param_groups[0]["lr"])
    )
    rows = trainer.run().epochs
    expected = [1e-2, 1e-3, 1e-3, 1e-4]
    assert [row["lr"] for row in rows] == pytest.approx(expected)
    assert used == pytest.approx([lr for lr in expected for _ in range(3)])


def test_a_rate_per_step_follows_the_steps(tmp_path: Path) -> None:
    stages = full_size(
        epochs=2, lr=1e-2, schedule="cosine", warmup_epochs=1, per_step=True, warmup_start=0.1
    )
    used = []
    trainer = make_trainer(
        tmp_path, stages, on_progress=lambda _: used.append(trainer.optimizer.param_groups[0]["lr"])
    )
    rows = trainer.run().epochs
    rises = [1e-3 + 9e-3 * step / 3 for step in range(3)]
    falls = [5e-3 * (1 + math.cos(math.pi * step / 3)) for step in range(3)]
    assert used == pytest.approx(rises + falls)
    # Of an epoch its first step's.
    assert [row["lr"] for row in rows] == pytest.approx([1e-3, 1e-2])


# All that a recipe may ask for at once.
RECIPE = full_size(
    epochs=2,
    lr=1e-2,
    optimizer="sgd",
    nesterov=True,
    weight_decay=1e-3,
    no_decay=("bias", "norm"),
    bias_lr=2,
    head_lr=5,
    clip_norm=0.1,
    schedule="cosine",
    per_step=True,
    cosine_from_start=True,
    frozen_norm="but_first",
    precise_batches=2,
)


@pytest.mark.parametrize("steps", [2, 4, 6])
def test_a_stopped_run_by_a_recipe_ends_the_same(tmp_path: Path, steps: int) -> None:
    whole = make_trainer(tmp_path / "whole", RECIPE)
    expected = numbers(whole.run())
    with pytest.raises(Stopped):
        make_trainer(tmp_path / "cut", RECIPE, should_stop=stop_after(steps)).run()
    again = make_trainer(tmp_path / "cut", RECIPE, process_seed=steps)
    check(again, (expected, weights(whole)))
    plain = make_trainer(tmp_path / "plain", full_size(epochs=2, lr=1e-2, optimizer="sgd"))
    assert numbers(plain.run())["epochs"] != expected["epochs"]


def test_progress_is_of_the_computation(tmp_path: Path) -> None:
    seen = []
    make_trainer(tmp_path, on_progress=seen.append).run()
    assert [(p.stage, p.epoch, p.step) for p in seen[:4]] == [
        *(("t1", 0, 1), ("t1", 0, 2), ("t1", 0, 3)),
        ("t1", 1, 1),
    ]
    # A stage-t epoch costs a quarter of a full-size one, a stage-s epoch a half.
    assert [p.fraction for p in seen] == pytest.approx(
        [n / 18 for n in range(1, 7)] + [1 / 3 + n / 9 for n in range(1, 7)]
    )


def test_a_loss_that_is_no_number_says_where(tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match=r"loss is (nan|inf) in stage full, epoch 1, step 2"):
        make_trainer(tmp_path, full_size(epochs=1, lr=1e30)).run()


def test_a_test_without_numbers_is_no_accuracy(tmp_path: Path) -> None:
    """The one step's loss is finite, and what it leaves is not."""
    with pytest.raises(NotFinite, match="scores of the test are nan after stage full"):
        make_trainer(tmp_path, full_size(epochs=1, lr=1e30), data=make_data(4)).run()


def test_the_cap_holds_in_every_stage(tmp_path: Path) -> None:
    peaks = make_trainer(tmp_path / "a").run().peaks
    low, high = sorted(report["peak_bytes"] for report in peaks.values())
    assert make_trainer(tmp_path / "b", cap_bytes=high).run().peaks == peaks
    seen = []
    with pytest.raises(CapExceeded) as caught:
        make_trainer(tmp_path / "c", cap_bytes=low, on_progress=seen.append).run()
    # Stopped in the second stage's first step.
    assert caught.value.cap_bytes == low
    assert {progress.stage for progress in seen} == {"t1"}
    assert seen[-1].fraction == pytest.approx(1 / 3)
    assert low < caught.value.peak_bytes <= high


def test_a_damaged_checkpoint_is_not_trained_on(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        make_trainer(tmp_path, should_stop=stop_after(1)).run()
    file = tmp_path / "checkpoint.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        make_trainer(tmp_path).run()


class Lookup(nn.Module):
    """The scores of a clip by the value of its pixels; notes the mode in which it was asked."""

    def __init__(self, probabilities: list[list[float]]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3, padding=1)
        self.logits_VK = torch.tensor(probabilities).log()
        self.asked: list[tuple[Any, ...]] = []

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        self.asked.append((self.training, self.conv.dilation, tuple(clip_BCTHW.shape[1:])))
        value_B = clip_BCTHW.mean((1, 2, 3, 4)) * 255 * 0.225 + 255 * 0.45
        return self.logits_VK[value_B.round().long()]


def test_accuracy_by_hand() -> None:
    """Video 0 has a clip right and is wrong, video 1 a clip right and is right; video 2 is right.

    Mean scores: video 0 (class a) .35/.65, video 1 (class b) .375/.625, video 2 (class a) .9/.1.
    """
    values = np.repeat(np.arange(6, dtype=np.uint8), T)[:, None, None]
    values = np.broadcast_to(values, (6 * T, 4, 4)).copy()
    dataset = clips(values, [0, 1, 0], per_video=2)
    model = Lookup([[0.6, 0.4], [0.1, 0.9], [0.55, 0.45], [0.2, 0.8], [0.9, 0.1], [0.9, 0.1]])
    found = evaluate(model, dataset, (2, 3), CPU, batch_size=4)
    assert (found.clip, found.video) == (4 / 6, 2 / 3)
    assert (found.num_clips, found.num_videos) == (6, 3)
    # Full-size clips, in eval mode, dilated in time by 2 and in space by 3.
    assert model.asked == [(False, (2, 3, 3), (1, T, 4, 4))] * 2
