"""Trains an autoencoder on clips, measures how well it gives back those of the test."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stdcf.complexity import count
from stdcf.data.clips.clips import Clips
from stdcf.layers.padding import triple
from stdcf.stages.optimizers import OPTIMIZERS
from stdcf.stages.stage import Stage
from stdcf.training.checkpoint import load_checkpoint, save_checkpoint
from stdcf.training.step import Numerics
from stdcf.training.trainer import NotFinite, Stopped
from suites.engine.catalog import build_model
from suites.engine.store.folder import RunFolder
from suites.engine.train import open_data
from suites.reporting.pictures import packed

# Frames that the row keeps, of the first test clips and of what is made of them.
STRIP_CLIPS, STRIP_FRAMES = 2, 6
_SAVE_SECONDS = 10.0


def reconstruct(
    folder: RunFolder,
    *,
    data_root: str | None,
    device: str,
    num_workers: int | None,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """The task "reconstruct": trains by mean squared error, tests by PSNR (`psnr_db`)."""
    spec = folder.spec()
    torch.set_num_threads(spec.threads)
    data = open_data(spec, data_root)
    (stage,) = spec.stages
    torch.manual_seed(spec.seed)
    shape = data.train.clip_shape
    model = build_model(spec, len(data.classes), shape[0])
    numerics = Numerics(
        torch.device(device), spec.amp, channels_last=spec.device == "cpu", pixels=data.pixels
    )
    training = Training(
        numerics.place(model), data.train, stage, spec.batch_size, spec.seed, numerics, folder.path
    )

    def report(last: dict[str, Any]) -> None:
        folder.write_state(
            status="running",
            stage=stage.name,
            epoch=last["epoch"],
            epochs=stage.epochs,
            fraction=last["epoch"] / stage.epochs,
            clips_per_second=last["clips_per_second"],
        )

    try:
        training.run(should_stop, report)
    finally:
        folder.write_curves(training.epochs)
    clips = _whole(data.test)
    outputs = restored(model, clips, numerics, spec.batch_size)
    save_checkpoint(folder.path / f"stage-{stage.name}.pt", model.state_dict())
    ratios = psnr_db(outputs, clips.float() / 255)
    found = count(build_model(spec, len(data.classes), shape[0]), (1, *shape), fvcore=False)
    frames = np.linspace(0, shape[1] - 1, min(STRIP_FRAMES, shape[1])).round().astype(int)
    shown = outputs[:STRIP_CLIPS, 0, frames].mul(255).round().to(torch.uint8)
    return {
        "status": "ok",
        "reason": None,
        # Not "accuracy": it is no share of anything.
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
        "train_seconds": sum(epoch["seconds"] for epoch in training.epochs),
    }


class Training:
    """One stage of reconstruction with all clips on the device; goes on from its checkpoint.

    The result depends on the seed alone, not on where it was stopped.
    """

    def __init__(
        self,
        model: nn.Module,
        clips: Clips,
        stage: Stage,
        batch_size: int,
        seed: int,
        numerics: Numerics,
        folder: Path,
    ) -> None:
        self.model, self.stage, self.batch_size, self.seed = model, stage, batch_size, seed
        self.numerics, self._file = numerics, folder / "checkpoint.pt"
        self.clips = _whole(clips).to(numerics.device)
        self.optimizer = OPTIMIZERS[stage.optimizer](model.parameters(), lr=stage.lr)
        self.epochs: list[dict[str, Any]] = []

    def run(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        on_epoch: Callable[[dict[str, Any]], None] = lambda epoch: None,
    ) -> None:
        """Trains to the stage's end.

        Raises:
            Stopped: if `should_stop` said so after an epoch; its checkpoint is written.
            NotFinite: if the loss is NaN or infinite.
        """
        if self._file.exists():
            state = load_checkpoint(self._file, self.numerics.device)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epochs = state["epochs"]
        saved = time.monotonic()
        while len(self.epochs) < self.stage.epochs:
            self._epoch(len(self.epochs))
            stop = should_stop()
            if stop or time.monotonic() - saved > _SAVE_SECONDS:
                self._save()
                saved = time.monotonic()
            if stop:
                raise Stopped
            on_epoch(self.epochs[-1])

    def _epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.lr_at(epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.clips))
        places = torch.from_numpy(order).to(self.clips.device)
        # Summed on the device: reading each step's loss would wait for a GPU.
        total = torch.zeros((), device=self.clips.device)
        self.model.train()
        for chosen in places.split(self.batch_size):
            x_BCTHW = self.numerics.prepare(self.clips[chosen])
            with self.numerics.autocast():
                loss = F.mse_loss(self.model(x_BCTHW).float(), x_BCTHW)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(chosen)
        mean = float(total) / len(self.clips)
        if not np.isfinite(mean):
            raise NotFinite(f"loss is {mean} in epoch {epoch + 1}")
        seconds = time.perf_counter() - started
        self.epochs.append(
            {
                "stage": self.stage.name,
                "epoch": epoch + 1,
                "lr": self.stage.lr_at(epoch),
                "train_loss": mean,
                "seconds": seconds,
                "clips_per_second": len(self.clips) / seconds,
            }
        )

    def _save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        save_checkpoint(self._file, state | {"epochs": self.epochs})


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


def _whole(clips: Clips) -> Tensor:
    return clips.__getitems__(range(len(clips)))[0]
