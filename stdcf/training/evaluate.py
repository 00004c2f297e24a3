"""Accuracy on full-size clips, per clip and per video."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stdcf.data.clips.clips import Clips
from stdcf.data.clips.loader import batches
from stdcf.data.clips.transforms import change_tempo
from stdcf.layers import set_dilation
from stdcf.stages.stage import Dilation, Stage
from stdcf.training.distributed import ALONE, Ranks
from stdcf.training.step import Numerics


@dataclass(frozen=True)
class Accuracy:
    """Fractions in [0, 1] and how many they are of; top-5 where whole videos are tested."""

    clip: float
    video: float
    num_clips: int
    num_videos: int
    video_top5: float | None = None


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Clips,
    dilation: Dilation,
    numerics: Numerics,
    *,
    batch_size: int = 16,
    num_workers: int | None = 0,
    ranks: Ranks = ALONE,
    sized_as_in: Stage | None = None,
    tempo: float = 1,
) -> Accuracy:
    """Tests on full-size clips at `dilation`; a video's score is the mean softmax of its clips.

    sized_as_in: the clips are made as small as this stage trains on instead.
    tempo: they are played so many times as fast; see `change_tempo`.

    Each process scores its share of the clips, every clip once; all of them get the whole result.

    Raises:
        FloatingPointError: if a score is NaN, which would count as some class.
    """
    set_dilation(model, *dilation)
    model.eval()
    scores: list[Tensor] = []
    order = range(ranks.rank, len(dataset), ranks.size)
    for clip_BCTHW, _, _ in batches(dataset, batch_size, order=order, num_workers=num_workers):
        x_BCTHW = change_tempo(numerics.prepare(clip_BCTHW, sized_as_in), tempo)
        with numerics.autocast():
            logits_BK = model(x_BCTHW)
        scores.append(logits_BK.float().softmax(1).cpu())
    # A set of fewer clips than processes leaves some of these without any.
    parts = [torch.cat(part) for part in ranks.gather(scores) if part]
    scores_NK = parts[0].new_empty(len(dataset), parts[0].shape[1])
    for rank, part in enumerate(parts):
        scores_NK[rank :: ranks.size] = part
    if not scores_NK.isfinite().all():
        raise FloatingPointError("scores of the test are nan")
    labels_N = torch.from_numpy(dataset.labels)
    clip = float((scores_NK.argmax(1) == labels_N).double().mean())

    videos_N = torch.from_numpy(dataset.video_of_clip)
    ids_V, row_N = videos_N.unique(return_inverse=True)
    sums_VK = torch.zeros(len(ids_V), scores_NK.shape[1]).index_add_(0, row_N, scores_NK)
    labels_V = torch.zeros(len(ids_V), dtype=torch.int64).scatter_(0, row_N, labels_N)
    video = float((sums_VK.argmax(1) == labels_V).double().mean())
    return Accuracy(clip, video, len(scores_NK), len(ids_V))
