"""What test_distributed does in one process and in two: ``python rank_scenarios.py FOLDER``.

Each process writes FOLDER/rankR.pt; MASTER_ADDR and so on come from the environment.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stdcf import STDCFConv3d
from stdcf.data.clips.clips import ClipDataset, Clips, plan_runs
from stdcf.data.clips.splits import VideoData
from stdcf.models import create_model
from stdcf.stages.stage import Stage, full_size, itsl
from stdcf.training.distributed import Ranks, joined
from stdcf.training.evaluate import evaluate
from stdcf.training.multiview import evaluate_views
from stdcf.training.step import Numerics
from stdcf.training.sync_batchnorm import synchronise
from stdcf.training.trainer import Stopped, Trainer

CPU = Numerics(torch.device("cpu"))
T, SIZE = 8, 16
BATCH, TRAIN, TEST = 4, 17, 7  # five steps an epoch, the last of one clip: fewer than processes
STAGES_50_STEPS = itsl(1, epochs=5, lr=1e-2, milestones=(3,))


class Float64(nn.Module):
    """A network in float64, fed with the trainer's float32 clips."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        return self.network(clip_BCTHW.double())


class Noted(ClipDataset):
    """Notes which clips were asked for."""

    asked: list[int]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        self.asked += list(indices)
        return super().__getitems__(indices)


def make_clips(number: int, seed: int, per_video: int = 1) -> Noted:
    rng = np.random.default_rng(seed)
    videos = [
        rng.integers(0, 256, (per_video * T, 1, SIZE, SIZE), np.uint8)
        for _ in range(-(-number // per_video))
    ]
    runs = [(n // per_video, np.arange(T) + n % per_video * T) for n in range(number)]
    labels = [v % 2 for v in range(len(videos))]
    names = [f"v{v}" for v in range(len(videos))]
    clips = Noted(videos, names, labels, ("a", "b"), plan_runs(runs, T))
    clips.asked = []
    return clips


def make_trainer(folder: Path, ranks: Ranks, stages: Sequence[Stage], **options: Any) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    dropout = options.pop("dropout", 0.0)
    network = create_model("kth_cnn", conv=STDCFConv3d, num_classes=2, dropout=dropout)
    data = VideoData("noise", ("a", "b"), make_clips(TRAIN, 1), make_clips(TEST, 2, 2), "0", ())
    return Trainer(
        Float64(network),
        data,
        stages,
        batch_size=BATCH,
        seed=0,
        numerics=CPU,
        folder=folder,
        ranks=ranks,
        **options,
    )


def curve(folder: Path, ranks: Ranks, stages: Sequence[Stage] = STAGES_50_STEPS) -> dict[str, Any]:
    """The loss of every step, and what the run ends with."""
    sums = [0.0]
    losses = []

    def note(_: object) -> None:
        total = trainer.sums.loss
        first = trainer.step == 1
        losses.append(total - (0.0 if first else sums[-1]))
        sums.append(total)

    trainer = make_trainer(folder, ranks, stages, on_progress=note)
    history = trainer.run()
    return {
        "losses": losses,
        "epochs": [[row["train_loss"], row["train_accuracy"]] for row in history.epochs],
        "stages": history.stages,
        "weights": trainer.model.state_dict(),
        "asked": [trainer.data.train.asked, trainer.data.test.asked],
        "written": sorted(path.name for path in folder.iterdir()),
    }


def stop_after(steps: int) -> Callable[[], bool]:
    left = iter(range(steps - 1))
    return lambda: next(left, None) is None


def interrupted(folder: Path, ranks: Ranks, steps: int) -> dict[str, Any]:
    """Dropout on; stopped by one process alone after `steps`, then gone on with, if steps > 0."""
    stages = full_size(epochs=2, lr=1e-2)
    if steps:
        stop = stop_after(steps) if ranks.rank == ranks.size - 1 else (lambda: False)
        try:
            make_trainer(folder, ranks, stages, dropout=0.5, should_stop=stop).run()
        except Stopped:
            pass
        else:
            raise AssertionError("it was not stopped")
    torch.manual_seed(99)
    trainer = make_trainer(folder, ranks, stages, dropout=0.5)
    history = trainer.run()
    return {
        "epochs": [[row["train_loss"], row["train_accuracy"]] for row in history.epochs],
        "weights": trainer.model.state_dict(),
    }


def batch_norm(ranks: Ranks) -> dict[str, Any]:
    """BatchNorm on this process's share of 7 clips; gradients of a sum over all of them."""
    generator = torch.Generator().manual_seed(3)
    x_BCTHW = torch.randn(7, 3, 2, 4, 4, dtype=torch.float64, generator=generator)
    weight_BCTHW = torch.randn(x_BCTHW.shape, dtype=torch.float64, generator=generator)
    norm = nn.BatchNorm3d(3).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0, generator=generator)
    if ranks.size > 1:
        norm = synchronise(norm, torch.device("cpu"))
    mine = ranks.share(range(7))
    x = x_BCTHW[mine].requires_grad_()
    out = norm(x)
    (out * weight_BCTHW[mine]).sum().backward()
    return {
        "mine": mine,
        "out": out.detach(),
        "grad": x.grad,
        "weight_grad": norm.weight.grad,
        "running": [norm.running_mean, norm.running_var, norm.num_batches_tracked],
    }


def test_clips(ranks: Ranks) -> dict[str, Any]:
    """Tests of a set of fewer clips than processes, and of one with several clips a video."""
    torch.manual_seed(0)
    model = create_model("kth_cnn", conv=STDCFConv3d, num_classes=2)
    found = {}
    for number in (1, 7):
        clips = make_clips(number, 5, 3)
        accuracy = evaluate(model, clips, (1, 1), CPU, batch_size=2, ranks=ranks)
        found[number] = {"accuracy": vars(accuracy), "asked": clips.asked}
    return found


class Views(Clips):
    """Two clips of each video as its views; video 3 cannot be decoded."""

    num_views, broken = 2, 3

    def __init__(self, clips: Noted) -> None:
        self.clips, self.asked = clips, list[int]()
        self.video_names, self.labels = clips.video_names, clips.labels[::2]

    def __len__(self) -> int:
        return len(self.video_names)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        return self.clips.clip_shape

    def __getitems__(self, indices: Sequence[int]) -> Any:
        self.asked += list(indices)
        views = [2 * video + view for video in indices if video != self.broken for view in range(2)]
        lost = [(self.video_names[v], "cut short") for v in indices if v == self.broken]
        return *self.clips.__getitems__(views), lost


def test_views(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """A test of nine videos: stopped by one process after a batch, then gone on with."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = create_model("kth_cnn", conv=STDCFConv3d, num_classes=2)
    views: Any = Views(make_clips(18, 5, 2))
    broken: dict[str, str] = {}

    def test(should_stop: Callable[[], bool]) -> Any:
        return evaluate_views(
            model,
            views,
            (1, 1),
            CPU,
            scores_file=folder / "scores.pt",
            on_broken=broken.__setitem__,
            batch_size=4,
            num_workers=0,
            should_stop=should_stop,
            ranks=ranks,
        )

    last = ranks.rank == ranks.size - 1
    stopped = test((lambda: True) if last else (lambda: False))
    assert stopped is None
    accuracy = test(lambda: False)
    return {"accuracy": vars(accuracy), "asked": views.asked, "broken": broken}


def scenarios(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Everything; one process's part of it."""
    unsynchronised = replace(ranks, sync_batchnorm=False)
    return {
        "curve": curve(folder / "curve", ranks),
        "unsynchronised": curve(
            folder / "unsynchronised", unsynchronised, full_size(epochs=1, lr=1e-2)
        ),
        "synchronised": curve(folder / "synchronised", ranks, full_size(epochs=1, lr=1e-2)),
        "undisturbed": interrupted(folder / "undisturbed", ranks, 0),
        "interrupted": interrupted(folder / "interrupted", ranks, 3),
        "batch_norm": batch_norm(ranks),
        "test": test_clips(ranks),
        "views": test_views(folder / "views", ranks),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    results = Path(sys.argv[1])
    with joined(torch.device("cpu"), size=2) as two:
        torch.save(scenarios(results, two), results / f"rank{two.rank}.pt")
