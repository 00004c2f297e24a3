"""Trains an autoencoder on clips, measures how well it gives back those of the test."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stdcf.complexity import count
from stdcf.data.clips.clips import Clips
from stdcf.layers.padding import triple
from stdcf.training.step import Numerics
from suites.engine.catalog import build_model
from suites.engine.task import Run
from suites.engine.train import measured, trained
from suites.reporting.pictures import packed

# Frames that the row keeps, of the first test clips and of what is made of them.
STRIP_CLIPS, STRIP_FRAMES = 2, 6


def reconstruct(run: Run) -> dict[str, Any]:
    """The task "reconstruct": trains by mean squared error, tests by PSNR (`psnr_db`)."""
    spec = run.spec
    run.settle()
    data = run.data()
    (stage,) = spec.stages
    shape = data.train.clip_shape
    numerics = run.numerics(data)
    model = numerics.place(build_model(spec, len(data.classes), shape[0]))
    drawn = replace(data, train=Drawn(data.train))
    history = trained(run, model, drawn, loss="mse", shuffle=shuffled)
    clips = _whole(data.test)[0]
    outputs = restored(model, clips, numerics, spec.batch_size)
    ratios = psnr_db(outputs, clips.float() / 255)
    found = count(build_model(spec, len(data.classes), shape[0]), (1, *shape), fvcore=False)
    frames = np.linspace(0, shape[1] - 1, min(STRIP_FRAMES, shape[1])).round().astype(int)
    shown = outputs[:STRIP_CLIPS, 0, frames].mul(255).round().to(torch.uint8)
    return {
        "status": "ok",
        "reason": None,
        # Not "accuracy": it is not a share of anything.
        "psnr_db": float(ratios.mean()),
        "psnr_db_of_clips": [round(float(ratio), 3) for ratio in ratios],
        # What a black clip has, which costs nothing.
        "black_psnr_db": float(psnr_db(torch.zeros_like(outputs), clips.float() / 255).mean()),
        "strip": {
            "frames": frames.tolist(),
            "input": packed(clips[:STRIP_CLIPS, 0, frames].numpy()),
            "output": packed(shown.numpy()),
        },
        "summary": f"PSNR {float(ratios.mean()):.2f} dB",
        "widths": list(spec.model_options["widths"]),
        "pool": list(triple(spec.model_options["pool"], "pool")),
        "params": found.params,
        "macs": found.macs,
        "batch_size": spec.batch_size,
        "train_clips": len(data.train),
        "test_clips": len(data.test),
        "epochs_per_stage": stage.epochs,
        "clip_shape": list(shape),
        "synthetic": data.synthetic,
        "notes": list(data.notes),
        "train_seconds": sum(epoch["seconds"] for epoch in history.epochs),
        "cap_bytes": spec.cap_bytes,
        **measured(history),
    }


class Drawn(Clips):
    """Clips that are drawn once, rather than in every epoch."""

    def __init__(self, clips: Clips) -> None:
        self._parts = _whole(clips)
        self.labels, self.video_of_clip = clips.labels, clips.video_of_clip

    def __len__(self) -> int:
        return len(self._parts[0])

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        _, c, t, h, w = self._parts[0].shape
        return c, t, h, w

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        return tuple(part[list(indices)] for part in self._parts)


def shuffled(seed: int, stage: int, epoch: int, clips: int) -> np.ndarray:
    """The order of an epoch's clips, of which there is one stage."""
    return np.random.default_rng([seed, epoch]).permutation(clips)


@torch.no_grad()
def restored(model: nn.Module, clips_NCTHW: Tensor, numerics: Numerics, batch_size: int) -> Tensor:
    """What the model makes of uint8 clips, limited to [0, 1], on the CPU."""
    model.eval()
    parts = []
    for clip_BCTHW in clips_NCTHW.split(batch_size):
        with numerics.autocast():
            output = model(numerics.prepare(clip_BCTHW))
        parts.append(output.float().clamp(0, 1).cpu())
    return torch.cat(parts)


def psnr_db(output_NCTHW: Tensor, clip_NCTHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each clip in dB, [N]; the peak is 1.

    10 log₁₀(1 / mean squared error over all pixels and frames); of equal clips it is infinite.
    """
    errors_N = (output_NCTHW.double() - clip_NCTHW.double()).square().flatten(1).mean(1)
    return -10 * errors_N.log10()


def _whole(clips: Clips) -> tuple[Tensor, ...]:
    return clips.__getitems__(range(len(clips)))
