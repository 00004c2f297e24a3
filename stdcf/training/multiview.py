"""Accuracy on whole videos, each seen in several clips and crops (§3.2.1's 30-crop setting)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from stdcf.data.clips.loader import OnBroken, batches
from stdcf.data.clips.streamed import VideoViews
from stdcf.errors import UserError
from stdcf.layers import set_dilation
from stdcf.stages.stage import Dilation
from stdcf.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from stdcf.training.distributed import ALONE, Ranks
from stdcf.training.evaluate import Accuracy
from stdcf.training.step import Numerics

_SAVE_SECONDS = 60.0
TOP = 5


@torch.no_grad()
def evaluate_views(
    model: nn.Module,
    dataset: VideoViews,
    dilation: Dilation,
    numerics: Numerics,
    *,
    scores_file: Path,
    on_broken: OnBroken,
    batch_size: int = 16,
    num_workers: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
) -> Accuracy | None:
    """Tests at `dilation`; a video's score is the mean softmax of its views.

    Videos that cannot be decoded are left out of every count. Each process scores its share of the
    videos, every video once; all of them get the whole result.

    Args:
        scores_file: holds what has been scored so far, written once a minute; a later call with the
            same weights and videos goes on from there.
        on_broken: told of each video that cannot be decoded, also of those found by earlier calls.
        batch_size: views that pass through the model at once.
        on_progress: called with the number of videos done and of all.
        should_stop: asked after every batch; True ends the test.

    Returns:
        None if it was stopped.

    Raises:
        FloatingPointError: if a score is NaN, which would count as some class.
        UserError: if no video can be decoded.
    """
    set_dilation(model, *dilation)
    model.eval()
    if not ranks.is_first:
        scores_file = scores_file.with_suffix(f".rank{ranks.rank}.pt")
    stamp = _stamp(model, dataset, (*dilation, ranks.rank, ranks.size))
    scores = _load(scores_file, stamp) or _Scores.none(dataset)
    for name, reason in scores.broken.items():
        on_broken(name, reason)

    def note(name: str, reason: str) -> None:
        scores.broken[name] = reason
        on_broken(name, reason)

    def save() -> None:
        save_checkpoint(scores_file, {**vars(scores), "stamp": stamp})

    # Always the same videos together, so that a test that was stopped ends with the same digits.
    videos_a_batch = max(batch_size // dataset.num_views, 1)
    saved = monotonic()
    mine = range(ranks.rank, len(dataset), ranks.size)
    order = mine[scores.done :]
    stopped = False
    for views_NCTHW, label_N, video_N in batches(
        dataset, videos_a_batch, order=order, num_workers=num_workers, on_broken=note
    ):
        for x_NCTHW, label, video in zip(
            views_NCTHW.split(batch_size),
            label_N.split(batch_size),
            video_N.split(batch_size),
            strict=True,
        ):
            with numerics.autocast():
                logits_NK = model(numerics.prepare(x_NCTHW))
            scores.add(logits_NK.float().softmax(1).cpu(), label, video)
        scores.done = min(scores.done + videos_a_batch, len(mine))
        on_progress(min(scores.done * ranks.size, len(dataset)), len(dataset))
        if scores.done < len(mine) and should_stop():
            stopped = True
            break
        if monotonic() - saved > _SAVE_SECONDS:
            save()
            saved = monotonic()
    save()
    # A process that is through with its videos waits here for those that are not.
    if ranks.any(stopped):
        return None
    merged = _Scores.merged(ranks.gather(scores))
    for name, reason in merged.broken.items():
        on_broken(name, reason)
    return merged.accuracy(torch.from_numpy(dataset.labels))


@dataclass
class _Scores:
    """Of the first `done` videos of this process.

    Attributes:
        sums: softmax scores [V, K] summed over a video's views; without columns before the first.
        views: of each video, how many were scored [V].
        correct_views: views whose own best class is right.
    """

    sums: Tensor
    views: Tensor
    correct_views: int = 0
    done: int = 0
    broken: dict[str, str] = field(default_factory=dict)

    @classmethod
    def none(cls, dataset: VideoViews) -> "_Scores":
        videos = len(dataset)
        return cls(torch.zeros(videos, 0), torch.zeros(videos, dtype=torch.int64))

    @classmethod
    def merged(cls, parts: "Sequence[_Scores]") -> "_Scores":
        """Of all processes; each video was scored by one of them."""
        if len(parts) == 1:
            return parts[0]
        scored = [part for part in parts if part.sums.shape[1]] or parts[:1]
        return cls(
            torch.stack([part.sums for part in scored]).sum(0),
            torch.stack([part.views for part in scored]).sum(0),
            sum(part.correct_views for part in parts),
            sum(part.done for part in parts),
            {name: reason for part in parts for name, reason in part.broken.items()},
        )

    def add(self, score_NK: Tensor, label_N: Tensor, video_N: Tensor) -> None:
        if not score_NK.isfinite().all():
            raise FloatingPointError("scores of the test are nan")
        if self.sums.shape[1] == 0:
            self.sums = torch.zeros(len(self.views), score_NK.shape[1])
        self.sums.index_add_(0, video_N, score_NK)
        self.views.index_add_(0, video_N, torch.ones_like(video_N))
        self.correct_views += int((score_NK.argmax(1) == label_N).sum())

    def accuracy(self, label_V: Tensor) -> Accuracy:
        scored_V = self.views > 0
        videos, views = int(scored_V.sum()), int(self.views.sum())
        if videos == 0:
            raise UserError("no test video can be decoded: python -m suites.data verify says why")
        sums_VK, label_V = self.sums[scored_V], label_V[scored_V]
        best_VK = sums_VK.topk(min(TOP, sums_VK.shape[1]), dim=1).indices
        hits_VK = best_VK == label_V[:, None]
        return Accuracy(
            clip=self.correct_views / views,
            video=float(hits_VK[:, 0].double().mean()),
            num_clips=views,
            num_videos=videos,
            video_top5=float(hits_VK.any(1).double().mean()),
        )


def _load(file: Path, stamp: str) -> _Scores | None:
    try:
        state: dict[str, Any] = load_checkpoint(file)
    except (FileNotFoundError, CheckpointError):
        return None
    return _Scores(**state) if state.pop("stamp") == stamp else None


def _stamp(model: nn.Module, dataset: VideoViews, setting: tuple[int, ...]) -> str:
    """What the scores belong to: weights, videos, views and the setting."""
    digest = hashlib.sha256(repr((setting, dataset.num_views, dataset.video_names)).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
