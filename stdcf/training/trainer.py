"""Runs a schedule: every stage, a checkpoint at least every epoch, resumable at any step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from torch import nn

from stdcf.data.clips.loader import batches, check_shared_memory
from stdcf.data.clips.splits import VideoData
from stdcf.data.clips.streamed import VideoViews
from stdcf.errors import UserError
from stdcf.layers import set_dilation
from stdcf.memory.meter import StepMeter
from stdcf.memory.savers import Saver, learn
from stdcf.memory.savers.company import prepare
from stdcf.memory.step import LOSSES
from stdcf.memory.tracking.tracker import CapExceeded
from stdcf.memory.tracking.watch import CapWatch
from stdcf.stages.apply import apply_stage, set_training
from stdcf.stages.optimizers import make_optimizer, set_rate, take_step
from stdcf.stages.stage import Stage
from stdcf.training.checkpoint import load_checkpoint, save_checkpoint
from stdcf.training.distributed import ALONE, Ranks
from stdcf.training.draws import shuffled, torch_seed
from stdcf.training.epoch_steps import EpochSteps
from stdcf.training.evaluate import Accuracy, evaluate
from stdcf.training.history import History, Learnt, Progress, Sums
from stdcf.training.multiview import evaluate_views
from stdcf.training.recalibrate import CLIPS, has_statistics, recalibrated, settle
from stdcf.training.step import Numerics
from stdcf.training.tuned import tune_at_start


class NotFinite(ArithmeticError):
    """The loss, or a score of the test, became NaN or infinite."""


class Stopped(Exception):
    """Training was asked to stop; its checkpoint is written."""


class Trainer:
    """Trains a model through a schedule of stages.

    Args:
        model: built under the run's seed; moved to the device here.
        folder: where checkpoint.pt and each stage's weights (stage-NAME.pt) are kept.
        on_progress, on_stage: called after every step; in the first process after every test.
        should_stop: asked after every step; True writes a checkpoint and raises `Stopped`.
        savers: the memory savers of a training step; see `stdcf.memory.savers`.
        cap_bytes: limit on live tensor bytes (CPU): every training step, test batch and stage.
        ranks: the processes that train it together, batch_size being of all of them.
        loss: "cross_entropy" of classes, or "mse" of the model's output and the clip itself, whose
            network has no accuracy: it is not tested here.
        shuffle: the order of an epoch's clips, of seed, stage, epoch and how many they are.

    The result depends on the seed alone: not on num_workers, nor on where it was stopped and
        resumed.
    """

    def __init__(
        self,
        model: nn.Module,
        data: VideoData,
        stages: Sequence[Stage],
        *,
        batch_size: int,
        seed: int,
        numerics: Numerics,
        folder: Path,
        num_workers: int | None = 0,
        savers: Sequence[Saver] = (),
        cap_bytes: int | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_stage: Callable[[History], None] = lambda history: None,
        should_stop: Callable[[], bool] = lambda: False,
        ranks: Ranks = ALONE,
        loss: Literal["cross_entropy", "mse"] = "cross_entropy",
        shuffle: Callable[[int, int, int, int], np.ndarray] = shuffled,
    ) -> None:
        if ranks.size > 1 and any(stage.norm_parts > 1 for stage in stages):
            raise UserError("norm_parts is for one process: ranks could differ in their parts")
        self.model = numerics.place(ranks.synchronised(model))
        self.data = data
        self.stages = list(stages)
        self.batch_size, self.seed = batch_size, seed
        self.numerics = numerics
        self.folder, self._checkpoint = folder, folder / "checkpoint.pt"
        self.num_workers, self.savers = num_workers, savers
        on_cpu = numerics.device.type == "cpu"
        self.watch = None if cap_bytes is None or not on_cpu else CapWatch(self.model, cap_bytes)
        self.on_progress, self.on_stage = on_progress, on_stage
        self.should_stop, self.ranks = should_stop, ranks
        self.loss, self.shuffle = LOSSES[loss], shuffle
        self.classifies = loss == "cross_entropy"

        self.history = History()
        self.stage_index = self.epoch = self.step = 0
        self.sums = Sums()
        self.optimizer = make_optimizer(self.model, self.stage)
        self._enter_stage()

    @property
    def stage(self) -> Stage:
        """The stage that is being trained."""
        return self.stages[self.stage_index]

    def run(self) -> History:
        """Trains from where the folder's checkpoint stands, or from the beginning.

        Raises:
            NotFinite: if the loss is NaN or infinite.
            Stopped: if `should_stop` said so; call again to go on.
            CheckpointError, UserError: for a damaged checkpoint; for too small a /dev/shm.
        """
        largest = max(
            member.batch_of(self.batch_size) for stage in self.stages for member in stage.members()
        )
        check_shared_memory((self.data.train, self.data.test), largest, self.num_workers)
        if self._checkpoint.exists():
            self._load()
        while self.stage_index < len(self.stages):
            while self.epoch < self.stage.epochs:
                self._train_epoch()
            self._test_stage()
            self.stage_index, self.epoch = self.stage_index + 1, 0
            if self.stage_index < len(self.stages):
                self._enter_stage()
            self._save()
        return self.history

    def _enter_stage(self) -> None:
        apply_stage(self.model, self.stage)
        prepare(self.savers, self.model, self.stage.clip_norm)
        self.network = self.ranks.wrap(self.model)
        if self.stage.fresh_optimizer:
            self.optimizer = make_optimizer(self.model, self.stage)
        clips = self.data.train
        self.steps = EpochSteps(self.stage, self.batch_size, len(clips), clips.clip_shape)
        # Counted from the stage's first step, so that a resumed run measures the same one.
        steps_done = self.epoch * len(self.steps) + self.step
        self.meter = StepMeter(
            self.model,
            self.optimizer,
            measured_step=max(self.steps.measured() - steps_done, 0),
            watch=self.watch,
        )

    def _train_epoch(self) -> None:
        stage = self.stage
        order = self.shuffle(self.seed, self.stage_index, self.epoch, len(self.data.train))
        if self.step == 0:
            self.sums = Sums()
            # Dropout's draws depend on the epoch only, so that a resumed run repeats them.
            rank = [] if self.ranks.is_first else [self.ranks.rank]
            torch.manual_seed(torch_seed(self.seed, self.stage_index, self.epoch, *rank))
        set_training(self.model, stage)
        steps = len(self.steps)
        started = perf_counter()
        for clip, label, _ in batches(
            self.data.train.drawn(self.seed, self.stage_index, self.epoch),
            self.steps.sizes[self.step :],
            order=order[self.steps.start(self.step) :],
            num_workers=self.num_workers,
            on_broken=self.history.note_broken,
            share=self.ranks.share,
        ):
            set_rate(self.optimizer, stage.lr_at(self.epoch, self.step / steps))
            shares = self.ranks.gather(len(label))
            # Where all clips of one process are broken, the others cannot go without it.
            if all(shares):
                self._train_step(clip, label, sum(shares))
            self.step += 1
            seconds = self.sums.seconds + perf_counter() - started
            self.on_progress(
                Progress(
                    stage.name,
                    self.epoch,
                    stage.epochs,
                    self.step,
                    steps,
                    self._fraction(self.step / steps),
                    self.sums.clips / seconds,
                )
            )
            if self.ranks.any(self.should_stop()):
                self.sums.seconds = seconds
                self._save()
                raise Stopped
        self.sums.seconds += perf_counter() - started
        for broken in self.ranks.gather(self.history.broken):
            self.history.broken |= broken
        if self.sums.clips == 0:
            raise UserError(
                f"no training video of {self.data.name} can be decoded: python -m suites.data "
                f"verify {self.data.name} says why"
            )
        accuracy = {"train_accuracy": self.sums.correct / self.sums.clips}
        self.history.epochs.append(
            {
                "stage": stage.name,
                "epoch": self.epoch + 1,
                "lr": stage.lr_at(self.epoch),
                "train_loss": self.sums.loss / self.sums.clips,
                **(accuracy if self.classifies else {}),
                "seconds": self.sums.seconds,
                "clips_per_second": self.sums.clips / self.sums.seconds,
            }
        )
        self.epoch, self.step = self.epoch + 1, 0
        # After the last epoch too: testing whole videos takes hours.
        self._save()

    def _train_step(self, clip: torch.Tensor, label: torch.Tensor, all_clips: int) -> None:
        stage = self.steps.stage_at(self.step)
        x_BCTHW, label = self.numerics.prepare(clip, stage), label.to(self.numerics.device)
        tune_at_start(self.model, x_BCTHW, self.numerics, self.ranks, self.epoch + self.step)
        learnt = Learnt()
        with self.meter.step(x_BCTHW, label):
            learn(
                self.network,
                x_BCTHW,
                label if self.classifies else x_BCTHW,
                self.loss,
                self.savers,
                optimizer=self.optimizer,
                autocast=self.numerics.autocast,
                weigh=lambda loss: self.ranks.of_global_mean(loss, len(label), all_clips),
                learnt=learnt.add,
            )
            take_step(self.model, self.optimizer, self.stage)
        if self.meter.report is not None and self.stage.name not in self.history.peaks:
            self.history.peaks[self.stage.name] = self.meter.report.as_dict()
        loss_sum, hits = self.ranks.total(*learnt.sums())
        value = loss_sum / all_clips
        if not np.isfinite(value):
            raise NotFinite(
                f"loss is {value} in stage {self.stage.name}, epoch {self.epoch + 1}, "
                f"step {self.step + 1}"
            )
        # A last batch that every process got whole counts once.
        copies = self.ranks.copies(len(self.data.train) - self.steps.start(self.step))
        self.sums.clips += all_clips // copies
        self.sums.loss += loss_sum / copies
        self.sums.correct += hits / copies

    def _test_stage(self) -> None:
        if self.stage.precise_batches:
            clips = self._training_clips(self.stage.precise_batches * self.batch_size)
            with self.meter.test():
                seed = torch_seed(self.seed, self.stage_index, self.stage.epochs)
                settle(self.model, clips, self.numerics, self.stage, seed)
        if self.classifies:
            self.history.stages.append(self._test_results())
        if self.ranks.is_first:
            save_checkpoint(self.folder / f"stage-{self.stage.name}.pt", self.model.state_dict())
            self.on_stage(self.history)

    def _test_results(self) -> dict[str, object]:
        stage = self.stage
        more: dict[str, float] = {}
        try:
            accuracy, batch_size = self._test(stage)
            if stage.recalibrate and has_statistics(self.model):
                again, _ = self._test(stage, recalibrate=True)
                more["recalibrated_accuracy"] = again.clip
                more["recalibrated_video_accuracy"] = again.video
        except FloatingPointError as error:
            raise NotFinite(f"{error} after stage {stage.name}") from error
        return {
            "stage": stage.name,
            "accuracy": accuracy.clip,
            "video_accuracy": accuracy.video,
            "test_clips": accuracy.num_clips,
            "test_videos": accuracy.num_videos,
            "video_top5": accuracy.video_top5,
            "test_batch_size": batch_size,
            **more,
        }

    def _test(self, stage: Stage, *, recalibrate: bool = False) -> tuple[Accuracy, int]:
        """Accuracy, and in batches of how many clips it was tested.

        Each clip is scored on its own, so where a batch does not fit, smaller ones give the same.
        """
        batch_size = self.batch_size
        name = f"{stage.name}-recalibrated" if recalibrate else stage.name
        while True:
            try:
                statistics = self._statistics(stage) if recalibrate else nullcontext()
                with self.meter.test(), statistics:
                    return self._tested(stage, batch_size, f"scores-{name}.pt"), batch_size
            except (CapExceeded, torch.OutOfMemoryError):
                # Processes that wait for each other must not part ways.
                if batch_size == 1 or self.ranks.size > 1:
                    raise
                batch_size //= 2

    def _statistics(self, stage: Stage) -> AbstractContextManager[None]:
        """BatchNorm's statistics of training clips as the test sees its own."""
        set_dilation(self.model, *stage.test_dilation)
        return recalibrated(self.model, self._training_clips(CLIPS), self.numerics)

    def _training_clips(self, number: int) -> Iterator[torch.Tensor]:
        """Batches of clips that no epoch drew, the same ones in every process."""
        rng = np.random.default_rng([self.seed, self.stage_index])
        found = batches(
            self.data.train.drawn(self.seed, self.stage_index, self.stage.epochs),
            self.batch_size,
            order=rng.permutation(len(self.data.train))[:number],
            num_workers=self.num_workers,
            on_broken=self.history.note_broken,
        )
        return (clip for clip, _, _ in found)

    def _tested(self, stage: Stage, batch_size: int, scores_name: str) -> Accuracy:
        test = self.data.test
        if not isinstance(test, VideoViews):
            return evaluate(
                self.model,
                test,
                stage.test_dilation,
                self.numerics,
                batch_size=batch_size,
                num_workers=self.num_workers,
                ranks=self.ranks,
            )

        def show(done: int, videos: int) -> None:
            name = f"test of {stage.name}"
            last = stage.epochs - 1
            self.on_progress(
                Progress(name, last, stage.epochs, done, videos, self._fraction(0), 0.0)
            )

        accuracy = evaluate_views(
            self.model,
            test,
            stage.test_dilation,
            self.numerics,
            scores_file=self.folder / scores_name,
            on_broken=self.history.note_broken,
            batch_size=batch_size,
            num_workers=self.num_workers,
            on_progress=show,
            should_stop=self.should_stop,
            ranks=self.ranks,
        )
        if accuracy is None:
            self._save()
            raise Stopped
        return accuracy

    def _fraction(self, of_epoch: float) -> float:
        costs = [stage.epochs * stage.relative_cost() for stage in self.stages]
        done = sum(costs[: self.stage_index])
        done += (self.epoch + of_epoch) * self.stage.relative_cost()
        return done / sum(costs)

    def _save(self) -> None:
        random_states = self.ranks.gather(torch.get_rng_state())
        if not self.ranks.is_first:
            return
        save_checkpoint(
            self._checkpoint,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "stage_index": self.stage_index,
                "epoch": self.epoch,
                "step": self.step,
                "sums": asdict(self.sums),
                "random_states": random_states,
                "history": asdict(self.history),
            },
        )

    def _load(self) -> None:
        state = load_checkpoint(self._checkpoint, self.numerics.device)
        self.stage_index, self.epoch = state["stage_index"], state["epoch"]
        self.step = state["step"]
        self.sums = Sums(**state["sums"])
        self.history = History(**state["history"])
        self.model.load_state_dict(state["model"])
        if self.stage_index < len(self.stages):
            self.optimizer = make_optimizer(self.model, self.stage)
            self._enter_stage()
            # At the end of a shorter schedule the state is the last stage's.
            if self.epoch or self.step or not self.stage.fresh_optimizer:
                self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random_states"][self.ranks.rank].cpu())
