"""The peak memory of a training step, without a GPU and without the memory."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    FakeTensorMode,
)
from torch.utils._python_dispatch import _disable_current_modes as disable_current_modes

from stdcf.errors import UserError
from stdcf.layers.plans import modelled_device
from stdcf.memory.buckets import GradientBuckets
from stdcf.memory.building import build_fake, fake_tensor, quiet
from stdcf.memory.cuda.allocator_settings import AllocatorSettings
from stdcf.memory.cuda.autocast_contexts import asked_autocasts
from stdcf.memory.cuda.cuda_libraries import CudaLibraries
from stdcf.memory.cuda.cuda_operators import cuda_operators
from stdcf.memory.cuda.cudnn_fallback import Versions
from stdcf.memory.cuda.smallest_cap import Requests, smallest_cap
from stdcf.memory.reading import reading_refused
from stdcf.memory.report import MemoryReport
from stdcf.memory.savers import Saver, parse_savers
from stdcf.memory.savers.batch import Batch, Inputs
from stdcf.memory.savers.company import refuse_ranks
from stdcf.memory.step import Loss, StepOptions, TrainingStep
from stdcf.memory.timeline import Timeline
from stdcf.memory.tracking.listeners import Listener, tell
from stdcf.memory.tracking.real_outputs import RealOutputs
from stdcf.memory.tracking.tracker import LifeTracker
from stdcf.memory.tracking.workspaces import Workspaces

if TYPE_CHECKING:
    from stdcf.stages.stage import Stage


def predict_peak(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int] | int,
    *,
    num_classes: int | None = None,
    loss: str | Loss = "cross_entropy",
    optimizer: str | Callable[..., torch.optim.Optimizer] = "adam",
    device: str = "cuda",
    autocast: str | torch.dtype | None = None,
    memory_format: str | torch.memory_format | None = None,
    stage: "Stage | None" = None,
    savers: Sequence[str | Saver] = (),
    inputs: Inputs | None = None,
    workspaces: bool = False,
    alloc_conf: str = "",
    ranks: int = 1,
    torch_version: str = "",
    cudnn_version: str = "",
) -> MemoryReport:
    """Predicts a training step's peak memory by the lives of its tensors, on fake ones.

    It is the peak of the second step, when the optimiser's state exists: batch and target are alive
    throughout, gradients are None before forward. For CUDA the caching allocator's rounding and
    fragmentation are simulated beside it, with what cuBLAS and cuDNN take of it.

    Args:
        model_fn: builds the model, on fake tensors. Where that fails, as where it converts types,
            loads a file or reads values, it is built once more for real and copied.
        input_shape: of a full-size batch, [B, C, T, H, W]; with `inputs` the batch's size suffices.
        device: whose operators are modelled, "cuda" or "cpu", not where this runs.
        num_classes, loss, optimizer, autocast, memory_format, stage, inputs: see `StepOptions`.
        savers: names or `Saver`s; see `stdcf.memory.savers`.
        workspaces: count what operators allocate within themselves (such as cuDNN's or oneDNN's
            buffers) too. It is learnt by running the largest ones alone, so the device must be
            there, and it takes about as long as a step. On CPU what is sent to the host counts too
            then: it is the same memory.
        alloc_conf: PYTORCH_CUDA_ALLOC_CONF of the run that is asked about, such as
            "expandable_segments:True"; this process's own is not read.
        ranks: above 1 the step is one process's of DistributedDataParallel, whose gradients lie in
            buckets (`stdcf.memory.buckets`); the batch is that of one process.
        torch_version, cudnn_version: of the run, such as "2.9.1" and "9.10", where it is not this
            machine's; with some, half-precision 3D convolutions take several times the memory
            (`stdcf.memory.cuda.cudnn_fallback`).

    Raises:
        UserError: for an option that does not exist, or what cannot be predicted: a compiled
            model, a forward pass that reads values, a GPU asked for that is not there.
    """
    versions = Versions.read(torch_version, cudnn_version)
    return Predictor(model_fn, device, alloc_conf, versions).peak(
        input_shape,
        num_classes=num_classes,
        loss=loss,
        optimizer=optimizer,
        autocast=autocast,
        memory_format=memory_format,
        stage=stage,
        savers=savers,
        inputs=inputs,
        workspaces=workspaces,
        ranks=ranks,
    )


def predict_evaluation(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int] | int,
    *,
    optimizer: str | Callable[..., torch.optim.Optimizer] | None = "adam",
    device: str = "cuda",
    autocast: str | torch.dtype | None = None,
    memory_format: str | torch.memory_format | None = None,
    inputs: Inputs | None = None,
    alloc_conf: str = "",
) -> MemoryReport:
    """Predicts the peak of one pass in evaluation, without gradients, as `predict_peak` a step's.

    Args:
        optimizer: whose state is there meanwhile, as in a test between epochs; None: no training.

    Raises:
        UserError: as `predict_peak` does.
    """
    return Predictor(model_fn, device, alloc_conf).evaluation(
        input_shape,
        optimizer=optimizer,
        autocast=autocast,
        memory_format=memory_format,
        inputs=inputs,
    )


class Predictor:
    """Predicts many steps of one model, which is built once.

    A stage's dilation and frozen parts, and a memory format, stay with the model until another
    call changes them.

    Args:
        model_fn, device, alloc_conf: see `predict_peak`.
        versions: of torch and cuDNN in the run; None: this machine's.

    Attributes:
        model: on fake tensors.
    """

    def __init__(
        self,
        model_fn: Callable[[], nn.Module],
        device: str = "cuda",
        alloc_conf: str = "",
        versions: Versions | None = None,
    ) -> None:
        self._falls_back = (versions or Versions.read()).falls_back
        self._settings = AllocatorSettings.parse(alloc_conf)
        self._device, self._on_cuda = device, device_type(device) == "cuda"
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        with asked_autocasts():
            self.model = build_fake(model_fn, self._mode)

    def peak(
        self,
        input_shape: Sequence[int] | int,
        *,
        savers: Sequence[str | Saver] = (),
        workspaces: bool = False,
        ranks: int = 1,
        listeners: Sequence[Listener] = (),
        **options: Any,
    ) -> MemoryReport:
        """`predict_peak` of one step; the options are its own.

        Args:
            listeners: are given the step's tracker and are told of each of its operators.
        """
        words = parse_savers(savers)
        _refuse_compiled(words)
        if workspaces and self._on_cuda and not torch.cuda.is_available():
            raise UserError(
                f"workspaces are learnt on {self._device}, which is not there: leave them out"
            )
        step_options = StepOptions(**options, savers=words)
        log = Workspaces() if workspaces else None
        libraries = CudaLibraries(self._falls_back) if self._on_cuda else None
        told = [one for one in (log, libraries, *listeners) if one is not None]
        with quiet(), reading_refused(), self._mode, RealOutputs():
            # On CUDA torch's optimisers default to foreach, whose temporaries are all parameters'
            # size.
            foreach = self._on_cuda or None
            batch = self._batch(step_options, input_shape)
            step = step_options.build(
                self.model, batch, torch.device("cpu"), foreach, scaler=_FakeScaler()
            )
            refuse_ranks(words, ranks)
            if any(saver.changes_state for saver in words):
                # Where the state is and when it came depend on the step before.
                step.warm_up()
            buckets = GradientBuckets([])
            if ranks > 1:
                parts = max((saver.micro_batches for saver in words), default=1)
                trained = [p for p in step.model.parameters() if p.requires_grad]
                buckets = GradientBuckets(trained, min(parts, step.inputs.size or parts))
            tracker = LifeTracker(
                step.model,
                step.optimizer,
                step.batch,
                host_apart=self._on_cuda or not workspaces,
                on_operator=tell(told),
                buckets=buckets.tensors,
            )
            for listener in told:
                listener.tracker = tracker
            try:
                _second_step(step, tracker, self._on_cuda)
            finally:
                buckets.remove()
        report = self._report(tracker, libraries, step)
        higher = None if log is None else log.peak(torch.device(self._device))
        if higher is not None:
            report = replace(
                report,
                peak_bytes=higher.peak_bytes,
                breakdown=higher.breakdown,
                moment=higher.moment,
            )
        stage = step_options.stage
        return replace(
            report,
            stage=None if stage is None else stage.name,
            savers=tuple(map(str, words)),
        )

    def evaluation(
        self,
        input_shape: Sequence[int] | int,
        *,
        optimizer: str | Callable[..., torch.optim.Optimizer] | None = "adam",
        **options: Any,
    ) -> MemoryReport:
        """`predict_evaluation` of one pass; the options are its own."""
        step_options = StepOptions(optimizer=optimizer or "sgd", **options)
        libraries = CudaLibraries(self._falls_back) if self._on_cuda else None
        with quiet(), reading_refused(), self._mode, RealOutputs():
            batch = self._batch(step_options, input_shape)
            step = step_options.build(
                self.model, batch, torch.device("cpu"), self._on_cuda or None, scaler=_FakeScaler()
            )
            if optimizer is not None:
                step.make_state()
            tracker = LifeTracker(
                step.model,
                step.optimizer,
                step.batch,
                on_operator=tell([] if libraries is None else [libraries]),
            )
            if libraries is not None:
                libraries.tracker = tracker
            operators = cuda_operators() if self._on_cuda else nullcontext()
            with tracker, modelled_device("cuda" if self._on_cuda else "cpu"), operators:
                step.evaluate()
        return self._report(tracker, libraries, step)

    def _report(
        self, tracker: LifeTracker, libraries: CudaLibraries | None, step: TrainingStep
    ) -> MemoryReport:
        lives = [*tracker.lives, *(libraries.lives if libraries is not None else ())]
        report = MemoryReport(
            peak_bytes=tracker.peak_bytes,
            breakdown=tracker.breakdown(),
            moment=tracker.peak_moment,
            measured_by="fake_tensors",
            input_shape=tuple(step.clip_BCTHW.shape),
            device=self._device,
            host_bytes=tracker.host_bytes,
            macs=tracker.macs,
            lives=Timeline(lives, tracker.moments, tracker.peak_time),
            moved_bytes=tracker.moved_bytes,
        )
        if libraries is not None:
            requests = Requests(lives)
            # The second step is the first in which the optimiser's state is there.
            allocator = requests.replay(2, settings=self._settings)
            least = smallest_cap(requests, self._settings)
            report = replace(
                report,
                allocated_bytes=allocator.peak_allocated_bytes,
                reserved_bytes=allocator.peak_reserved_bytes,
                smallest_cap_bytes=least.n_bytes,
                flushes=least.flushes,
            )
        return report

    def _batch(self, options: StepOptions, input_shape: Sequence[int] | int) -> Batch:
        """On fake tensors, made for real first where `inputs` cannot do with fake ones."""
        try:
            batch = options.batch(input_shape, torch.device("cpu"))
        except UserError:
            raise
        except Exception:
            # Files, numpy and values need real tensors.
            with disable_current_modes(), torch.random.fork_rng(devices=()):
                batch = options.batch(input_shape, torch.device("cpu"))
        return batch.map(partial(fake_tensor, mode=self._mode))


class _FakeScaler:
    """A GradScaler whose check for infinities, which reads a value, is left out."""

    def __init__(self) -> None:
        self._scale: Tensor | None = None

    def scale(self, loss: Tensor) -> Tensor:
        if self._scale is None:
            self._scale = torch.full((), 2.0**16, device=loss.device)
        return loss * self._scale

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.step()

    def update(self) -> None:
        pass


def _second_step(step: TrainingStep, tracker: LifeTracker, on_cuda: bool) -> None:
    """Tracks the step in which the optimiser's state exists, without a step before it."""

    def make_target(output: Any) -> Any:
        made: list[Any] = []
        with tracker.unseen("batch", made):
            made.append(step.target_for(output))
        return made[0]

    with tracker:
        operators = cuda_operators() if on_cuda else nullcontext()
        with modelled_device("cuda" if on_cuda else "cpu"), operators:
            step.learn(make_target if step.target is None else None)
        step.update()
    tracker.backdate_state()


def predict_stages(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int],
    stages: Iterable["Stage"],
    **options: Any,
) -> dict[str, MemoryReport]:
    """`predict_peak` of each stage, by its name; a schedule needs the largest.

    Of a stage's `cycle` it is the largest step's. Stages that differ in neither batch, clip size,
    dilation nor frozen parts share one prediction.
    """
    device = options.pop("device", "cuda")
    predictor = Predictor(model_fn, device)
    known: dict[tuple[Any, ...], MemoryReport] = {}
    reports = {}
    for stage in stages:
        own = (stage.dilation, stage.trains, stage.frozen_norm, stage.norm_parts)
        members = {(member.clip_shape(input_shape), *own): member for member in stage.members()}
        for key, member in members.items():
            if key not in known:
                known[key] = predictor.peak(input_shape, stage=member, **options)
        largest = max((known[key] for key in members), key=lambda report: report.peak_bytes)
        reports[stage.name] = replace(largest, stage=stage.name)
    return reports


def device_type(device: str) -> str:
    """ "cuda" or "cpu" of a device's name."""
    kind = device.partition(":")[0]
    if kind not in ("cuda", "cpu"):
        raise UserError(f"device must be cpu or cuda, not {device!r}")
    return kind


def _refuse_compiled(savers: Sequence[Saver]) -> None:
    for saver in savers:
        if saver.compiles:
            raise UserError(
                f"saver {saver.name} cannot be predicted: torch's compiler decides when it runs; "
                "leave it out, or measure it with measure_peak"
            )
